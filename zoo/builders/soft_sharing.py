"""Soft sharing: a tower a task, and a penalty that draws them together."""

from collections.abc import Sequence
from typing import Any, Unpack

import keras

from mtl_keras import MultiTaskModel, Task
from mtl_keras.sharing import L2Sharing, Sharing
from zoo.builders.draft import ModelOptions
from zoo.builders.shared_trunk import shared_trunk


def soft_sharing(
    tasks: Sequence[Task],
    inputs: Any,
    towers: Sequence[int] | keras.layers.Layer = (128, 64),
    *,
    sharing: Sharing | Sequence[Sharing] | None = None,
    share: float = 0.0,
    activation: Any = "relu",
    dropout: float = 0.0,
    name: str = "soft_sharing",
    **options: Unpack[ModelOptions],
) -> MultiTaskModel:
    """A compiled model with a tower a task, "<task>_tower", regularised towards each other.

    Nothing is shared, but weights at the same place in the towers cost what sets them apart:
    for tasks that are alike and not the same. Without strength they are separate networks, at
    infinite strength of `L2Sharing` one network, if they start together. The pair of two tasks
    is the classic case.

    Args:
        tasks: the tasks.
        inputs: as in `zoo.shared_trunk`.
        towers: widths of dense layers, or any Keras layer or model, which is copied for each
            task, with its weights where it is built.
        sharing: the penalties, see `mtl_keras.sharing`; default `L2Sharing(1e-3)`.
        share: how much of the depth is one trunk for all, before the towers; default 0.
        activation: of the dense layers.
        dropout: rate after each of the dense layers.
        name: name of the model.
        options: see `zoo.builders.ModelOptions`.

    Raises:
        ValueError: for towers without corresponding weights, and as `zoo.shared_trunk`.

    Example:

    >>> tasks = [BinaryTask("clicked"), RegressionTask("price")]
    >>> nuclear = mtl_keras.sharing.TraceNormSharing(0.01, proximal=True)
    >>> model = soft_sharing(tasks, 4, towers=[16, 8], sharing=nuclear)
    >>> nuclear.ranks(model)["tower_0/kernel"]
    (2,)

    Reference:
        Duong et al., 2015, Low Resource Dependency Parsing: Cross-lingual Parameter Sharing in
        a Neural Network Parser; Yang, Hospedales, 2017, Trace Norm Regularised Deep Multi-Task
        Learning.
    """
    options |= {"share": share, "activation": activation, "dropout": dropout, "name": name}
    sharing = L2Sharing() if sharing is None else sharing
    return shared_trunk(tasks, inputs, towers, sharing=sharing, **options)
