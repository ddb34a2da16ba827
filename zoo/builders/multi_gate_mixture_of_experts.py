"""Shared experts, weighed by a gate a task."""

from collections.abc import Sequence
from typing import Any, Unpack

import keras

from mtl_keras import MultiTaskModel, Task
from mtl_keras.layers import Gate, MultiGateMixtureOfExperts
from zoo.builders.draft import ModelOptions
from zoo.builders.mixture import MixtureDraft


def multi_gate_mixture_of_experts(
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
    name: str = "multi_gate_mixture_of_experts",
    **options: Unpack[ModelOptions],
) -> MultiTaskModel:
    """A compiled model in which each task mixes the same experts in its own proportions.

    y_k = h_k(sum_e g_k(x)_e f_e(x)), with E experts f that all tasks train, a gate g_k and a
    tower h_k a task (MMoE; Ma et al. 2018, "Modeling Task Relationships in Multi-task Learning
    with Multi-gate Mixture-of-Experts", equations 5 and 6). Tasks that agree come to use the
    same experts; tasks that do not, part ways.

    Args:
        tasks: the tasks. Tasks that label positions need a trunk or experts that keep them.
        inputs: as in `zoo.shared_trunk`. What experts and gates read is one tensor; it is a
            vector a row, unless `trunk` is a layer, or there is none and the expert is one.
        experts: number of experts E.
        expert_units: widths of an expert's dense layers; or any Keras layer or model that keeps
            all axes but the last, copied for each expert with draws of its own, even where it
            is built: experts that start equal would stay close. What is pretrained belongs
            into `trunk`.
        trunk: what comes before experts and gates, shared by all tasks: widths, or any Keras
            layer or model that returns one tensor. Default none, as in the paper.
        towers: widths of each task's layers between mixture and head, or a layer that is copied
            for each task, with its weights where it is built; None for heads alone.
        gate: pattern of the gates, such as `mtl_keras.layers.TopKGate(k=2)`; default
            `SoftmaxGate()`.
        activation: of all dense layers.
        dropout: rate after each of them.
        name: name of the model.
        options: see `zoo.builders.ModelOptions`.

    Raises:
        ValueError: as `zoo.shared_trunk`; for bad numbers and widths, and a gate over another
            number of experts.

    Example:

    >>> tasks = [BinaryTask("clicked"), RegressionTask("price")]
    >>> model = multi_gate_mixture_of_experts(tasks, 4, experts=3, expert_units=[8], towers=[4])
    >>> [layer.name for layer in model.layers][:4]
    ['features', 'experts', 'clicked_tower', 'price_tower']
    >>> [gate.path for gate in model.get_layer("experts").gates]
    ['experts/gate_clicked', 'experts/gate_price']
    """
    draft = MixtureDraft(
        tasks, inputs, name, trunk, expert_units, towers, activation, dropout, **options
    )
    mixture = MultiGateMixtureOfExperts(
        len(draft.names), draft.bank(experts), gate, task_names=draft.names, name="experts"
    )
    return draft.model_on(mixture(draft.features))
