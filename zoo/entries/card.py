"""The model card: a page made from the manifest alone."""

import json
import math
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from zoo.recipes.summary import Summary

CARD = "README.md"

_BASELINES = {"single_task": "single-task models", "plain_sum": "the plain sum"}
_WIDE = 160  # Letters of input that a reader can take in.

_ROLES = {"entry": "this model", "single_task": "single task", "plain_sum": "plain sum"}


def card(manifest: Mapping[str, Any], name: str) -> str:
    """The card in Markdown.

    Args:
        manifest: a checked manifest.
        name: what the entry is loaded by.
    """
    parts = [
        f"# {PurePath(name).name}\n\n{manifest['title']}",
        _use(manifest, name),
        _tasks(manifest),
        _inputs(manifest),
        _results(manifest),
        _published(manifest),
        _limits(manifest),
        _training(manifest),
        _licences(manifest),
    ]
    made = "This page is made from `manifest.json`; change that, not this."
    return "\n\n".join([part for part in parts if part] + [made]) + "\n"


def name_in(page: str) -> str:
    """The name that a card says an entry is loaded by; empty where the page is no card.

    >>> name_in('model = zoo.load("./shop")')
    './shop'
    """
    found = re.search(r'zoo\.load\(("(?:[^"\\]|\\.)*")\)', page)
    return json.loads(found[1]) if found else ""


def _use(manifest, name):
    golden, preparing = manifest["golden"]["input"], manifest.get("preparing")
    text = ", ".join(f'"{key}": {_array(values)}' for key, values in golden.items())
    lines = ["import zoo"]
    if preparing:
        lines, x = [*preparing, "", *lines], "x"
    elif len(text) <= _WIDE:
        lines, x = ["import numpy as np", *lines], f"{{{text}}}"
    else:
        x = f"zoo.example({json.dumps(name)})"
    lines += ["", f"model = zoo.load({json.dumps(name)})", f"model.predict({x})"]
    return "```python\n" + "\n".join(lines) + "\n```"


def _array(values):
    return f"np.array({json.dumps(values[:1])}{', object' if isinstance(values[0], str) else ''})"


def _tasks(manifest):
    lines = ["## Tasks", "", "| task | kind | outputs | scored by |", "|---|---|---|---|"]
    for task in manifest["tasks"]:
        lines.append(f"| {task['name']} | {task['kind']} | {task['units']} | {task['score']} |")
    return "\n".join(lines)


def _inputs(manifest):
    lines = ["## Input", "", "| name | shape of a row | type | in the model |", "|---|---|---|---|"]
    for own in manifest["inputs"]:
        shape = " x ".join(str(n or "any") for n in own["shape"]) or "one value"
        lines.append(
            f"| {own['name']} | {shape} | {own['dtype']} | {own.get('preprocessing', '')} |"
        )
    return "\n".join(lines)


def _results(manifest):
    if "results" not in manifest:
        return ""
    results = manifest["results"]
    summary = Summary(results)
    roles = [role for role in _ROLES if role in results["runs"]]
    count = len(results["seeds"])
    head = ["task", "metric", *(_ROLES[role] for role in roles)]
    lines = ["## Results", "", _row(head), _row(["---", "---", *("---:" for _ in roles)])]
    for task, metric in summary.rows():
        cells = [_spread(summary.values(role, task, metric)) for role in roles]
        lines.append(_row([task, metric, *cells]))
    if len(summary.tasks) > 1:
        for metric in summary.common_metrics():
            cells = [_spread(summary.means(role, metric)) for role in roles]
            lines.append(_row(["mean", metric, *cells]))
    cells = [_parameters(results, role) for role in roles]
    lines.append(_row(["parameters", "", *cells]))
    said = f"{results['split'].capitalize()} split"
    said += f", mean and standard deviation over {count} seeds." if count > 1 else ", one seed."
    said += _gains(summary, roles, _budget(manifest))
    return "\n".join([*lines, "", f"{said} The weights here are those of the first seed."])


def _gains(summary, roles, budget):
    if "single_task" not in roles:
        return ""
    said = f" {budget}"
    if "plain_sum" not in roles:
        said += " This model is itself the plain sum of its tasks' losses."
    for role in roles[1:]:
        mean, low, high = summary.delta_m(role)
        verdict = "better" if low > 0 else "worse" if high < 0 else "neither better nor worse"
        said += f" Against {_BASELINES[role]}, Delta_m is {mean:+.2f} %"
        said += f" [{low:+.2f}, {high:+.2f}] (95 %, paired seeds): {verdict}."
    return said


def _budget(manifest):
    budgets = dict(manifest.get("training", {}).get("budgets", {}))
    alone = budgets.pop("single_task", None)
    if all(budget == alone for budget in budgets.values()):
        return "The baselines had the same data, batches and epochs at most."
    others = next(iter(budgets.values()))
    return (
        "The baselines had the same data and batches. Single tasks take fewer steps in an epoch: "
        f"they had {_epochs(alone)}, the others {_epochs(others)}."
    )


def _epochs(budget):
    return f"{budget['epochs']} epochs at most, patience {budget['patience']}"


def _row(cells):
    return "| " + " | ".join(map(str, cells)) + " |"


def _parameters(results, role):
    return f"{results['runs'][role]['parameters']:,}"


def _spread(values):
    mean, deviation = values.mean(), values.std(ddof=1) if len(values) > 1 else math.nan
    if math.isnan(mean):
        return "undefined"
    digits = 4 if abs(mean) < 10 else 2
    return f"{mean:.{digits}f}" + ("" if math.isnan(deviation) else f" ± {deviation:.{digits}f}")


def _published(manifest):
    if not manifest.get("published"):
        return ""
    lines = ["## Beside published figures", "", "| task | metric | ours | theirs | source |"]
    lines.append("|---|---|---:|---:|---|")
    summary, differences = Summary(manifest["results"]), []
    for other in manifest["published"]:
        differences.append(f"- {other['source']}: {other['difference']}.")
        for task, metrics in other["figures"].items():
            for metric, theirs in metrics.items():
                mean = task == "mean"
                ours = summary.means if mean else summary.values
                values = ours("entry", *(() if mean else (task,)), metric)
                lines.append(_row([task, metric, _spread(values), theirs, other["source"]]))
    return "\n".join([*lines, "", "What differs:", "", *differences])


def _limits(manifest):
    if not manifest.get("limits"):
        return ""
    return "\n".join(["## Limits", "", *(f"- {line}" for line in manifest["limits"])])


def _training(manifest):
    if "training" not in manifest:
        return ""
    training, lines = manifest["training"], ["## Training", ""]
    if "dataset" in manifest:
        data = manifest["dataset"]
        variant = f", variant {data['variant']}" if data["variant"] else ""
        sizes = ", ".join(f"{rows:,} {split}" for split, rows in data["sizes"].items())
        lines.append(
            f"Data: `{data['name']}`{variant} ({sizes}); rows' SHA-256 `{data['sha256']}`."
        )
    if "builder" in manifest:
        lines.append(f"Builder: `zoo.{manifest['builder']['name']}`, arguments in `recipe.json`.")
    lines.append(f"Command: `{training['command']}`.")
    seconds = manifest.get("results", {}).get("runs", {}).get("entry", {}).get("seconds", [])
    if seconds:
        spent = f"{min(seconds):.0f} to {max(seconds):.0f} s"
        lines.append(
            f"Wall time of a seed: {spent}, {training['machine']}, other work on it included."
        )
    versions = ", ".join(f"{name} {version}" for name, version in training["versions"].items())
    lines.append(f"Versions: {versions}.")
    return "\n".join(lines)


def _licences(manifest):
    licences = manifest["licences"]
    return f"## Licences\n\nData: {licences['data']}\n\nWeights: {licences['weights']}"
