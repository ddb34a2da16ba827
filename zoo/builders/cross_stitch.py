"""Cross-stitch networks: a tower a task, whose channels are mixed with the others'."""

from collections.abc import Sequence
from typing import Any, Unpack

import keras

from mtl_keras import MultiTaskModel, Task
from mtl_keras.layers import CrossStitch
from zoo.builders.backbone import Backbone
from zoo.builders.draft import Draft, ModelOptions
from zoo.builders.exchange import exchanging_towers


def cross_stitch(
    tasks: Sequence[Task],
    inputs: Any,
    towers: Sequence[int] | keras.layers.Layer = (128, 64),
    *,
    initial: float = 0.9,
    per_channel: bool = True,
    regularizer: Any = None,
    share: float = 0.0,
    activation: Any = "relu",
    dropout: float = 0.0,
    name: str = "cross_stitch",
    **options: Unpack[ModelOptions],
) -> MultiTaskModel:
    """A compiled model of a tower a task, mixed channel by channel after each block.

    x~_k = sum_l alpha_kl x_l (Misra et al. 2016, "Cross-stitch Networks for Multi-task
    Learning", equation 1), with a K x K matrix alpha a channel that is learned: the network
    finds out how much two tasks have in common, at each depth anew. With alpha at the identity
    this is `zoo.single_task`. The paper starts from towers trained one by one: give a trained
    backbone, whose weights are copied.

    `zoo.nddr` mixes every channel with every other one, `zoo.sluice` parts of the towers.

    Args:
        tasks: the tasks.
        inputs: as in `zoo.shared_trunk`.
        towers: widths of the dense layers of each tower; or any Keras layer or model, which is
            copied for each task. A `keras.Sequential` exchanges after each of its blocks (a
            layer with the pooling, normalisation and dropout that follow), anything else once,
            at its output, which must be one tensor. Where it keeps positions, heads may
            label them.
        initial: what a tower first takes of itself, from 0 to 1; the others share the rest.
        per_channel: whether every channel has its own alpha, or a block one for all.
        regularizer: of alpha.
        share: how much of the depth is shared by all tasks, from the input on: 0 none, 1 all.
        activation: of the dense layers.
        dropout: rate after each of the dense layers.
        name: name of the model.
        options: see `zoo.builders.ModelOptions`.

    Raises:
        ValueError: as `zoo.shared_trunk`; for a bad `initial`, and blocks that do not give one
            tensor.

    Example:

    >>> tasks = [BinaryTask("clicked"), RegressionTask("price")]
    >>> model = cross_stitch(tasks, 4, towers=[8])
    >>> [layer.name for layer in model.layers]
    ['features', 'clicked_tower_0', 'price_tower_0', 'exchange_0', 'clicked', 'price']
    """
    backbone = Backbone(towers, activation, dropout, argument="towers")
    draft = Draft(tasks, inputs, name, as_vector=backbone.reads_vectors, **options)

    def exchange(name):
        return CrossStitch(initial, per_channel, regularizer, name=name)

    held = exchanging_towers(backbone, draft.names, draft.encoded, share, exchange)
    return draft.model(held[-1])
