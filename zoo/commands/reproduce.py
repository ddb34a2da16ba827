"""`mtl-zoo reproduce NAME`: trains an entry anew, and holds the result against its card."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from zoo import registry
from zoo.commands.output import answer, table
from zoo.commands.training import recipe_of, trained_once
from zoo.recipes.recipe import Recipe
from zoo.recipes.summary import Summary


def run(options: Any) -> int:
    """Says of each task's score, and of their mean, whether it lies where it should.

    That is the interval in which one more run lies with a chance of 95 %, by the card's runs.

    Returns:
        0 when all of them do, else 1.

    Raises:
        ValueError: when the card has no runs of several seeds.
    """
    manifest = registry.manifest_of(options.name)
    results = manifest.get("results", {})
    _check(options.name, results)
    path, recipe = recipe_of(options.name, epochs=options.epochs)
    seed = max(results["seeds"]) + 1 if options.seed is None else options.seed
    _, once, data = trained_once(recipe, options.data_dir, seed, f"{options.name}, seed {seed}")
    found = list(comparisons(results, once.metrics))
    differs = list(_differences(manifest, Recipe.read(path), recipe, data.sizes))
    outside = [own for own in found if not own["inside"]]
    answer(
        options,
        {"seed": seed, "scores": found, "differs": differs, "reproduced": not outside},
        f"{options.name}, seed {seed}, on the {results['split']} split:",
        _table(found),
        *(f"Not like for like: {said}." for said in differs),
        _verdict(found, outside),
    )
    return 1 if outside else 0


def comparisons(
    results: Mapping[str, Any], metrics: Mapping[str, Mapping[str, float]]
) -> Iterator[dict[str, Any]]:
    """Every task's score of a run beside the interval of the card, and that of their mean.

    Args:
        results: the section of a manifest.
        metrics: task name to metric name to value, of the run.

    Yields:
        "task", "metric", "value", "interval" and whether the value lies "inside".
    """
    summary = Summary(results)
    scored = {task: said.split()[0] for task, said in results["score"].items()}
    for task, metric in scored.items():
        value = metrics.get(task, {}).get(metric, np.nan)
        yield _compared(task, metric, value, summary.interval(task, metric))
    shared = set(scored.values())
    if len(scored) > 1 and len(shared) == 1:
        (metric,) = shared
        value = np.mean([metrics.get(task, {}).get(metric, np.nan) for task in scored])
        yield _compared("mean", metric, value, _of_means(results, scored).interval("mean", metric))


def _compared(task, metric, value, interval):
    low, high = map(float, interval)
    # A NaN lies nowhere.
    inside = bool(low <= value <= high)
    about = {"task": task, "metric": metric, "value": float(value)}
    return about | {"interval": [low, high], "inside": inside}


def _of_means(results, scored):
    """A summary whose one task is the mean over the tasks."""
    summary = Summary(results)
    (metric,) = set(scored.values())
    means = np.mean([summary.values("entry", task, metric) for task in scored], axis=0)
    return Summary({"runs": {"entry": {"metrics": {"mean": {metric: means.tolist()}}}}})


def _check(name, results):
    seeds = results.get("seeds", [])
    if len(seeds) < 2 or not results.get("score"):
        raise ValueError(
            "The entry must have scores of two or more seeds, from which to tell where one more "
            f"run should lie. Received: name={name!r}, seeds {seeds}"
        )


def _differences(manifest, card, recipe, sizes):
    """What was not as in the card's runs."""
    if recipe.epochs != card.epochs:
        yield f"{recipe.epochs} epochs at most, the card's runs had {card.epochs}"
    stated = manifest.get("dataset", {}).get("sizes", sizes)
    if dict(stated) != dict(sizes):
        yield f"data of {sizes['train']:,} training rows, the card's runs had {stated['train']:,}"


def _table(found):
    rows = [
        (
            own["task"],
            own["metric"],
            "{:.4f} to {:.4f}".format(*own["interval"]),
            f"{own['value']:.4f}",
            "inside" if own["inside"] else "OUTSIDE",
        )
        for own in found
    ]
    numbers = ("one more run, 95 %", "this run")
    return table(("task", "score", *numbers, ""), rows, numbers)


def _verdict(found, outside):
    if not outside:
        return "Reproduced: every score lies where one more run lies with a chance of 95 %."
    names = ", ".join(own["task"] for own in outside)
    return (
        f"Not reproduced: {len(outside)} of {len(found)} scores lie outside ({names}). By chance "
        "alone, one score in twenty does."
    )
