"""Shared experts, weighed by one gate for all tasks."""

from collections.abc import Sequence
from typing import Any, Unpack

import keras

from mtl_keras import MultiTaskModel, Task
from mtl_keras.layers import Gate, MixtureOfExperts
from zoo.builders.draft import ModelOptions
from zoo.builders.mixture import MixtureDraft


def mixture_of_experts(
    tasks: Sequence[Task],
    inputs: Any,
    experts: int = 8,
    expert_units: Sequence[int] | keras.layers.Layer = (64,),
    *,
    trunk: Sequence[int] | keras.layers.Layer | None = None,
    towers: Sequence[int] | keras.layers.Layer | None = (32,),
    gate: Gate | None = None,
    activation: Any = "relu",
    dropout: float = 0.0,
    name: str = "mixture_of_experts",
    **options: Unpack[ModelOptions],
) -> MultiTaskModel:
    """A compiled model in which all tasks read one mixture of experts.

    y_k = h_k(sum_e g(x)_e f_e(x)): experts f and gate g are trained by all tasks, the tower h_k
    by its own (OMoE; Ma et al. 2018, equation 4; Jacobs et al. 1991). What separates it from
    `zoo.multi_gate_mixture_of_experts` is that the gate sees the row, and not the task.

    Args:
        tasks: the tasks. Tasks that label positions need a trunk or experts that keep them.
        inputs: as in `zoo.multi_gate_mixture_of_experts`, as all that follow.
        experts: number of experts E.
        expert_units: widths of an expert, or a layer to copy.
        trunk: what comes before experts and gate; default none.
        towers: widths of each task's layers after the mixture, or a layer to copy; or None.
        gate: the gate, as a pattern; default `SoftmaxGate()`. With
            `TopKGate(k=2, capacity_factor=1.25)` experts that were not chosen are skipped where
            that is faster.
        activation: of all dense layers.
        dropout: rate after each of them.
        name: name of the model.
        options: see `zoo.builders.ModelOptions`.

    Raises:
        ValueError: as `zoo.multi_gate_mixture_of_experts`.

    Example:

    >>> tasks = [BinaryTask("clicked"), RegressionTask("price")]
    >>> gate = mtl_keras.layers.TopKGate(k=1)
    >>> model = mixture_of_experts(tasks, 4, experts=3, expert_units=[8], gate=gate)
    >>> [layer.name for layer in model.layers][:4]
    ['features', 'experts', 'clicked_tower', 'price_tower']
    """
    draft = MixtureDraft(
        tasks, inputs, name, trunk, expert_units, towers, activation, dropout, **options
    )
    mixture = MixtureOfExperts(draft.bank(experts), gate, name="experts")(draft.features)
    return draft.model_on([mixture] * len(draft.names))
