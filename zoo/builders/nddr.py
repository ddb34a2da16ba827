"""NDDR networks: a tower a task, each of which reduces all towers to its own size."""

from collections.abc import Sequence
from typing import Any, Unpack

import keras

from mtl_keras import MultiTaskModel, Task
from mtl_keras.layers import NDDR
from zoo.builders.backbone import Backbone
from zoo.builders.draft import Draft, ModelOptions
from zoo.builders.exchange import exchanging_towers


def nddr(
    tasks: Sequence[Task],
    inputs: Any,
    towers: Sequence[int] | keras.layers.Layer = (128, 64),
    *,
    initial: float = 0.9,
    batch_normalization: bool = True,
    exchange_activation: Any = "relu",
    regularizer: Any = None,
    share: float = 0.0,
    activation: Any = "relu",
    dropout: float = 0.0,
    name: str = "nddr",
    **options: Unpack[ModelOptions],
) -> MultiTaskModel:
    """A compiled model of a tower a task; after each block a tower reads all channels of all.

    y_k = relu(BN(W_k [x_1; ...; x_K])) (Gao et al. 2019, "NDDR-CNN", section 3): a 1 x 1
    convolution from the channels of all towers to those of one. It starts as `initial` times
    the task's own features and equal shares of the others'. With `initial=1`, no batch
    normalisation and an exchange activation that changes nothing this starts as
    `zoo.single_task`.

    `zoo.cross_stitch` mixes each channel with the same channel of the others alone, for K^2 C
    weights in place of K^2 C^2. The paper's variant with shortcuts from every exchange to the
    heads is not built.

    Args:
        tasks: the tasks.
        inputs: as in `zoo.shared_trunk`.
        towers: as in `zoo.cross_stitch`.
        initial: what a tower first takes of itself, from 0 to 1; the others share the rest.
        batch_normalization: whether the exchanged features are normalised.
        exchange_activation: of the exchanged features.
        regularizer: of the W_k, which the paper decays.
        share: how much of the depth is shared by all tasks, from the input on: 0 none, 1 all.
        activation: of the dense layers.
        dropout: rate after each of the dense layers.
        name: name of the model.
        options: see `zoo.builders.ModelOptions`.

    Raises:
        ValueError: as `zoo.cross_stitch`.

    Example:

    >>> model = nddr([BinaryTask("clicked"), RegressionTask("price")], 4, towers=[8])
    >>> tuple(model.get_layer("exchange_0").kernel.shape)
    (16, 2, 8)
    """
    backbone = Backbone(towers, activation, dropout, argument="towers")
    draft = Draft(tasks, inputs, name, as_vector=backbone.reads_vectors, **options)

    def exchange(name):
        return NDDR(initial, batch_normalization, exchange_activation, regularizer, name=name)

    held = exchanging_towers(backbone, draft.names, draft.encoded, share, exchange)
    return draft.model(held[-1])
