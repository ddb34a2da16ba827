"""Levels on which each task adds to its own experts a mixture of everyone's."""

from collections.abc import Sequence
from typing import Any, Unpack

import keras

from mtl_keras import MultiTaskModel, Task
from mtl_keras.checks import checked_count
from mtl_keras.layers import AdaTT, Gate
from zoo.builders.draft import ModelOptions
from zoo.builders.mixture import MixtureDraft


def adatt(
    tasks: Sequence[Task],
    inputs: Any,
    experts: int = 2,
    expert_units: Sequence[int] | keras.layers.Layer = (64,),
    *,
    num_shared: int = 0,
    levels: int = 2,
    trunk: Sequence[int] | keras.layers.Layer | None = None,
    towers: Sequence[int] | keras.layers.Layer | None = (32,),
    gate: Gate | None = None,
    activation: Any = "relu",
    dropout: float = 0.0,
    name: str = "adatt",
    **options: Unpack[ModelOptions],
) -> MultiTaskModel:
    """A compiled model in which each task keeps its own experts and reads those of the others.

    On each level a task's output is a learned sum of its own experts plus a gated mixture of
    the experts of all (AdaTT; Li et al. 2023, "AdaTT: Adaptive Task-to-Task Fusion Network for
    Multitask Learning in Recommendations", section 3). Unlike in
    `zoo.progressive_layered_extraction` a task reads another one's experts directly, and no gate
    can close the path to its own.

    Args:
        tasks: the tasks. Tasks that label positions need a trunk or experts that keep them.
        inputs: as in `zoo.multi_gate_mixture_of_experts`, as all that follow but two.
        experts: number of experts of each task, and of each shared unit, on a level.
        expert_units: widths of an expert, or a layer to copy; with several levels one that reads
            what it returns.
        num_shared: number of units of experts that belong to no task; default 0 (AdaTT-sp).
        levels: number of levels.
        trunk: what comes before the first level; default none.
        towers: widths of each task's layers after the last level, or a layer to copy; or None.
        gate: pattern of all gates; default `SoftmaxGate()`.
        activation: of all dense layers.
        dropout: rate after each of them.
        name: name of the model.
        options: see `zoo.builders.ModelOptions`.

    Raises:
        ValueError: as `zoo.multi_gate_mixture_of_experts`.

    Example:

    >>> tasks = [BinaryTask("clicked"), RegressionTask("price")]
    >>> model = adatt(tasks, 4, expert_units=[8], towers=[4], num_shared=1)
    >>> [layer.name for layer in model.layers][:5]
    ['features', 'experts_0', 'experts_1', 'clicked_tower', 'price_tower']
    """
    levels = checked_count(levels, "levels")
    draft = MixtureDraft(
        tasks, inputs, name, trunk, expert_units, towers, activation, dropout, **options
    )
    features = draft.features
    for level in range(levels):
        fusion = AdaTT(
            len(draft.names),
            draft.bank(experts),
            num_shared,
            gate,
            shared_output=level < levels - 1,
            task_names=draft.names,
            name=f"experts_{level}",
        )
        features = fusion(features)
    return draft.model_on(features)
