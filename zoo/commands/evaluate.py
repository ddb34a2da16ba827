"""`mtl-zoo evaluate NAME`: the metrics of a pretrained entry on a split of its data."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from rich.table import Table

from zoo import registry
from zoo.commands.output import answer, table
from zoo.commands.training import loaded_data, recipe_of
from zoo.recipes.evaluation import evaluated


def run(options: Any) -> None:
    """Prints each task's metrics.

    Raises:
        ValueError: when the data have no labels of a task of the model.
    """
    model = registry.load(options.name)
    _, recipe = recipe_of(options.name, options.sample)
    data = loaded_data(recipe, options.data_dir)
    unlabelled = {task.name for task in model.tasks} - {task.name for task in data.tasks}
    if unlabelled:
        raise ValueError(
            f"The data of the recipe, '{data.name}', must label the model's tasks. "
            f"Received: a model of {sorted(unlabelled)}"
        )
    encode = partial(registry.encoded, options.name)
    metrics = evaluated(model, data, options.split, encode)
    about = {"data": data.name, "source": data.source, "split": options.split}
    rows = data.sizes[options.split]
    answer(
        options,
        about | {"rows": rows, "metrics": metrics},
        f"{options.name} on {data.name} ({data.source}), {options.split} split, {rows:,} rows",
        table_of_metrics(metrics),
    )


def table_of_metrics(metrics: Mapping[str, Mapping[str, float]]) -> Table:
    """A row a task, a column a metric, and the means of metrics that all tasks have."""
    columns = list(dict.fromkeys(name for found in metrics.values() for name in found))
    rows = [(task, *_cells(found, columns)) for task, found in metrics.items()]
    if len(metrics) > 1:
        means = {
            name: float(np.mean([found[name] for found in metrics.values()]))
            for name in columns
            if all(name in found for found in metrics.values())
        }
        rows += [(), ("mean", *_cells(means, columns))]
    return table(("task", *columns), rows, columns)


def _cells(found, columns):
    return [f"{found[name]:.4f}" if name in found else "" for name in columns]
