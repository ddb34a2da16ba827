"""Sluice networks: a tower a task, parts of which read parts of the others."""

from collections.abc import Sequence
from typing import Any, Unpack

import keras

from mtl_keras import MultiTaskModel, Task
from mtl_keras.checks import checked_between
from mtl_keras.layers import SkipMixture, SluiceUnit
from zoo.builders.backbone import Backbone
from zoo.builders.draft import Draft, ModelOptions
from zoo.builders.exchange import exchanging_towers


def sluice(
    tasks: Sequence[Task],
    inputs: Any,
    towers: Sequence[int] | keras.layers.Layer = (64, 64),
    *,
    subspaces: int = 2,
    initial: float = 0.9,
    orthogonality: float = 0.0,
    skip: float | None = 0.9,
    share: float = 0.0,
    activation: Any = "relu",
    dropout: float = 0.0,
    name: str = "sluice",
    **options: Unpack[ModelOptions],
) -> MultiTaskModel:
    """A compiled model of a tower a task that learns which of its parts and depths to share.

    After each block the subspaces p of all towers are mixed, x~_p = sum_q alpha_pq x_q, and
    task k's head reads a mixture of the depths, sum_i beta_ki x~_ki (Ruder et al. 2019, "Latent
    Multi-task Architecture Learning"). With both at the identity this is `zoo.single_task`.

    The alphas start as `zoo.cross_stitch`'s do, which is the same without subspaces and with an
    alpha a channel. Where the paper mixes the layers of recurrent networks, blocks are mixed
    here, of whatever kind.

    Args:
        tasks: the tasks.
        inputs: as in `zoo.shared_trunk`.
        towers: as in `zoo.cross_stitch`; channels must divide into the subspaces.
        subspaces: into how many parts each tower is cut.
        initial: what a subspace first takes of itself, from 0 to 1; all others share the rest.
        orthogonality: weight of a penalty that pushes the subspaces of a tower apart, under
            the log keys `exchange_<i>_orthogonality_loss`: see `mtl_keras.layers.SluiceUnit`.
        skip: what a head first takes of the last block, from 0 to 1; the others share the rest,
            which needs blocks of one shape. None: the last block is all that it reads.
        share: how much of the depth is shared by all tasks, from the input on: 0 none, 1 all.
        activation: of the dense layers.
        dropout: rate after each of the dense layers.
        name: name of the model.
        options: see `zoo.builders.ModelOptions`.

    Raises:
        ValueError: as `zoo.cross_stitch`; for `subspaces` that do not divide the channels, and
            with `skip` for blocks of different shapes.

    Example:

    >>> tasks = [BinaryTask("clicked"), RegressionTask("price")]
    >>> model = sluice(tasks, 4, towers=[8, 8], orthogonality=0.01)
    >>> [tuple(model.get_layer(name).mixing.shape) for name in ("exchange_1", "price_depths")]
    [(4, 4), (2,)]
    """
    backbone = Backbone(towers, activation, dropout, argument="towers")
    skip = skip if skip is None else checked_between(skip, "skip", 0, 1)
    draft = Draft(tasks, inputs, name, as_vector=backbone.reads_vectors, **options)

    def exchange(name):
        return SluiceUnit(subspaces, initial, orthogonality, name=name)

    held = exchanging_towers(backbone, draft.names, draft.encoded, share, exchange)
    if skip is None or len(held) == 1:
        return draft.model(held[-1])
    by_task = {name: tuple(depth[name] for depth in held) for name in draft.names}
    _check_shapes(by_task[draft.names[0]])
    return draft.model(
        {name: SkipMixture(skip, name=f"{name}_depths")(depths) for name, depths in by_task.items()}
    )


def _check_shapes(depths):
    shapes = [tuple(depth.shape) for depth in depths]
    if len(set(shapes)) > 1:
        raise ValueError(
            "`towers` must have blocks of one shape for heads that read all of them; with "
            f"skip=None they read the last one. Received: blocks of shapes {shapes}"
        )
