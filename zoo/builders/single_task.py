"""A network a task, side by side: what sharing is compared with."""

from collections.abc import Sequence
from typing import Any, Unpack

import keras

from mtl_keras import MultiTaskModel, Task
from zoo.builders.draft import ModelOptions
from zoo.builders.shared_trunk import shared_trunk


def single_task(
    tasks: Sequence[Task],
    inputs: Any,
    trunk: Sequence[int] | keras.layers.Layer = (128, 64),
    *,
    activation: Any = "relu",
    dropout: float = 0.0,
    name: str = "single_task",
    **options: Unpack[ModelOptions],
) -> MultiTaskModel:
    """A compiled model in which no two tasks share a weight.

    Each task has the trunk for itself, so that a task's network is the size of the shared one:
    the usual baseline. One model trains all of them at once; a task learns what it would learn
    alone, with two exceptions: clipping gradients by their global norm, and early stopping on
    `score`, look at all tasks.

    For equal numbers of parameters in all instead, give narrower widths and compare
    `model.count_params()`.

    Args:
        tasks: the tasks; one gives the plain single-task network.
        inputs: as in `zoo.shared_trunk`.
        trunk: widths of dense layers, or any Keras layer or model, which is copied for each
            task, with its weights where it is built.
        activation: of the dense layers.
        dropout: rate after each of the dense layers.
        name: name of the model.
        options: see `zoo.builders.ModelOptions`.

    Raises:
        ValueError: as `zoo.shared_trunk`.

    Example:

    >>> tasks = [BinaryTask("clicked"), RegressionTask("price")]
    >>> model = single_task(tasks, 4, trunk=[16, 8])
    >>> [layer.name for layer in model.layers]
    ['features', 'clicked_tower', 'price_tower', 'clicked', 'price']
    """
    return shared_trunk(
        tasks,
        inputs,
        trunk,
        share=0.0,
        activation=activation,
        dropout=dropout,
        name=name,
        **options,
    )
