"""One training: a plan of a recipe, with one seed, on all tasks or on one."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras

from mtl_keras import MultiTaskModel, Task
from zoo import builders, datasets
from zoo.datasets.dataset import Dataset
from zoo.recipes.evaluation import evaluated, inputs_of
from zoo.recipes.parts import made
from zoo.recipes.recipe import Plan, Recipe


@dataclass(frozen=True)
class Run:
    """What one training gave.

    Args:
        seed: the seed.
        metrics: of the test split: task name to metric name to value.
        validation_score: the score by which the epoch was chosen.
        epoch: which epoch was kept, from 1 on.
        seconds: wall time of the training.
        parameters: number of the model's weights.
    """

    seed: int
    metrics: Mapping[str, Mapping[str, float]]
    validation_score: float
    epoch: int
    seconds: float
    parameters: int


def loaded(recipe: Recipe, data_dir: Any = None, seed: int = 0) -> Dataset:
    """The recipe's data, with the features and the tasks as the recipe has them.

    Raises:
        ValueError, OSError, ImportError: as `zoo.datasets.load`.
        ValueError: for a feature or a task that the data has not.
    """
    # Never the sample in place of the full data, unless the recipe says so.
    data = datasets.load(**{"source": "tfds", **recipe.data}, data_dir=data_dir, seed=seed)
    _check_names("features", recipe.features, data.features)
    _check_names("tasks", recipe.tasks, [task.name for task in data.tasks])
    features = {
        name: _adapted(replace(feature, **recipe.features.get(name, {})), data, name)
        for name, feature in data.features.items()
    }
    tasks = tuple(_changed(task, recipe.tasks.get(task.name, {})) for task in data.tasks)
    return replace(data, features=features, tasks=tasks)


def _check_names(argument, given, known):
    if not set(given) <= set(known):
        raise ValueError(
            f"`{argument}` of the recipe must be of the data's, {sorted(known)}. "
            f"Received: {sorted(given)}"
        )


def _adapted(feature, data, name):
    # Once, on all rows: baselines of single tasks read the same vocabulary.
    if not feature.needs_adapt:
        return feature
    return feature.adapted([data.splits["train"].inputs[name]])


def _changed(task: Task, changes: Mapping[str, Any]) -> Task:
    if not changes:
        return task
    serialize = keras.saving.serialize_keras_object
    config = {key: serialize(made(value)) for key, value in changes.items()}
    return type(task).from_config(task.get_config() | config)


def built(
    plan: Plan, recipe: Recipe, data: Dataset, tasks: Sequence[Task] | None = None
) -> MultiTaskModel:
    """The compiled, untrained model of a plan.

    Args:
        plan: one of the recipe's.
        recipe: the recipe.
        data: what `loaded` gave.
        tasks: default: those of the data.

    Raises:
        ValueError: for an unknown builder, or arguments that it does not take.
    """
    if plan.builder not in builders.__all__:
        raise ValueError(
            f"`builder` must be one of {builders.__all__}. Received: builder={plan.builder!r}"
        )
    steps = math.ceil(data.sizes["train"] / recipe.data.get("batch_size", 256))
    arguments = made(plan.arguments, steps)
    if plan.row_tasks:
        ((column, names),) = data.row_tasks.items()
        arguments |= {"row_input": column, "num_row_tasks": len(names)}
    optimizer = made(recipe.optimizer, steps)
    builder = getattr(builders, plan.builder)
    return builder(tasks or data.tasks, data.features, optimizer=optimizer, **arguments)


def trained(
    plan: Plan, recipe: Recipe, data: Dataset, seed: int, callbacks: Sequence[Any] = ()
) -> tuple[MultiTaskModel, Run]:
    """Trains a plan on data, keeps the best epoch, and measures it on the test split.

    Args:
        plan: one of the recipe's.
        recipe: the recipe.
        data: all of the recipe's data, or `Dataset.only` some of it.
        seed: of initial weights and of the order of the data.
        callbacks: further callbacks of `fit`.
    """
    keras.utils.set_random_seed(seed)
    model = built(plan, recipe, data)
    if recipe.jit_compile != "auto":
        # Not by `compile`, whose arguments are saved: elsewhere another choice may be better.
        model.jit_compile = recipe.jit_compile
    budget = recipe.budget(plan)
    stop = keras.callbacks.EarlyStopping(
        "val_score", mode="max", patience=budget["patience"], restore_best_weights=True
    )
    begin = time.perf_counter()
    model.fit(
        _given(model, data.train),
        validation_data=_given(model, data.validation),
        epochs=budget["epochs"],
        verbose=0,
        callbacks=[stop, *callbacks],
    )
    seconds = time.perf_counter() - begin
    run = Run(
        seed=seed,
        metrics=evaluated(model, data),
        validation_score=float(stop.best),
        epoch=stop.best_epoch + 1,
        seconds=round(seconds, 1),
        parameters=model.count_params(),
    )
    return model, run


def _given(model, split):
    return split.map(lambda x, y: (inputs_of(model, x), y))
