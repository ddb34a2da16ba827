"""`mtl-zoo list`: entries, builders and data sets. Answers without loading Keras."""

import ast
import fnmatch
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

from rich.filesize import decimal

import zoo
from zoo import registry
from zoo.commands.output import answer, table

_PLACE = Path(zoo.__file__).parent


def run(options: Any) -> None:
    """Prints what matches the pattern and the filters."""
    pattern = options.pattern
    if not set(pattern) & set("*?["):
        # Whoever types `census` means all of that.
        pattern = f"*{pattern}*"
    found = {"entries": [_entry(name) for name in _names(options, pattern)]}
    filtered = (options.pretrained, options.task, options.dataset)
    if all(choice is None for choice in filtered):
        found |= {"builders": _titles(_builders(), pattern)}
        found |= {"datasets": _titles(_datasets(), pattern)}
    answer(options, found, *_shown(found))


def _names(options, pattern):
    return registry.list_models(
        pattern, pretrained=options.pretrained, task=options.task, dataset=options.dataset
    )


def _entry(name):
    """What the line of an entry says; of a recipe without weights, what is known of it."""
    from zoo.entries.manifest import FILE_NAME
    from zoo.recipes.recipe import Recipe

    recipe = Recipe.read(registry.recipe_path(name))
    about = {"name": name, "title": recipe.title, "dataset": recipe.data["name"]}
    if not (registry.PRESETS / name / FILE_NAME).is_file():
        return about | {"pretrained": False}
    manifest = registry.manifest_of(name)
    return about | {
        "pretrained": True,
        "tasks": [task["name"] for task in manifest["tasks"]],
        "parameters": sum(map(_parameters, manifest["variables"].values())),
        "bytes": sum(file["bytes"] for file in manifest["files"].values()),
        "score": _scores(manifest.get("results")),
    }


def _parameters(variables):
    return sum(math.prod(variable["shape"]) for variable in variables.values())


def _scores(results):
    """By scoring metric, its mean over the tasks that it scores, and over seeds."""
    values = defaultdict(list)
    for task, said in (results or {}).get("score", {}).items():
        metric = said.split()[0]
        of_task = results["runs"]["entry"]["metrics"][task][metric]
        values[metric].append(sum(map(_number, of_task)) / len(of_task))
    return {metric: sum(means) / len(means) for metric, means in values.items()}


def _number(value):
    return math.nan if value is None else value


def _builders():
    """Name to function, of the files that define a function named after them."""
    for path in (_PLACE / "builders").glob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name == path.stem:
                yield path.stem, node


def _datasets():
    for path in (_PLACE / "datasets").glob("*/info.json"):
        source = (path.parent / "__init__.py").read_text("utf-8")
        yield path.parent.name, ast.parse(source)


def _titles(found, pattern):
    """Names and first lines of docstrings: read, not imported, which would load Keras."""
    return [
        {"name": name, "title": ast.get_docstring(node).splitlines()[0]}
        for name, node in sorted(found, key=lambda pair: pair[0])
        if fnmatch.fnmatchcase(name, pattern)
    ]


def _shown(found):
    if not any(found.values()):
        yield "Nothing in the zoo is so. `mtl-zoo list` shows all of it."
    if found["entries"]:
        yield 'Entries: zoo.load("NAME") gives the trained model, `mtl-zoo info NAME` its card'
        yield _table_of_entries(found["entries"])
    for key, title, hint in (
        ("builders", "Builders", "zoo.NAME(tasks, inputs) makes an untrained model"),
        ("datasets", "Data sets", 'zoo.datasets.load("NAME") gives splits, features and tasks'),
    ):
        if found.get(key):
            rows = [(own["name"], own["title"]) for own in found[key]]
            yield f"{title}: {hint}"
            yield table(("name", "what"), rows)


def _table_of_entries(entries):
    columns = ("name", "tasks", "data set", "params", "size", "score")
    numbers = ("params", "size")
    return table(columns, map(_cells, entries), numbers, whole=("data set",))


def _cells(entry):
    if not entry["pretrained"]:
        return (entry["name"], "not trained yet", entry["dataset"], "", "", "")
    names = entry["tasks"]
    tasks = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    scores = ", ".join(f"{metric} {value:.4g}" for metric, value in entry["score"].items())
    parameters, size = f"{entry['parameters'] / 1e6:.2f} M", decimal(entry["bytes"], precision=0)
    return (entry["name"], tasks, entry["dataset"], parameters, size, scores)
