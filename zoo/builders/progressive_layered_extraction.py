"""Levels of experts that belong to a task, and of experts that are shared."""

from collections.abc import Sequence
from typing import Any, Unpack

import keras

from mtl_keras import MultiTaskModel, Task
from mtl_keras.checks import checked_count
from mtl_keras.layers import Gate, ProgressiveLayeredExtraction
from zoo.builders.draft import ModelOptions
from zoo.builders.mixture import MixtureDraft


def progressive_layered_extraction(
    tasks: Sequence[Task],
    inputs: Any,
    experts: int = 2,
    expert_units: Sequence[int] | keras.layers.Layer = (64,),
    *,
    num_shared: int = 2,
    levels: int = 2,
    trunk: Sequence[int] | keras.layers.Layer | None = None,
    towers: Sequence[int] | keras.layers.Layer | None = (32,),
    gate: Gate | None = None,
    activation: Any = "relu",
    dropout: float = 0.0,
    name: str = "progressive_layered_extraction",
    **options: Unpack[ModelOptions],
) -> MultiTaskModel:
    """A compiled model in which tasks part from what they share level by level.

    On each level a task's gate mixes the task's own experts and the shared ones; those of other
    tasks are out of its reach, so that tasks cannot pull at them (PLE; Tang et al. 2020,
    "Progressive Layered Extraction", equations 1 to 8). All levels but the last also pass on a
    shared mixture, of the experts of all. One level is customized gate control (CGC).

    Without shared experts the tasks are separate networks; with one expert each, plain towers,
    as `zoo.single_task` has them.

    Args:
        tasks: the tasks. Tasks that label positions need a trunk or experts that keep them.
        inputs: as in `zoo.multi_gate_mixture_of_experts`, as all that follow but two.
        experts: number of each task's own experts on a level.
        expert_units: widths of an expert, or a layer to copy; with several levels one that reads
            what it returns.
        num_shared: number of shared experts on a level; 0 for none.
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
    >>> model = progressive_layered_extraction(tasks, 4, expert_units=[8], towers=[4])
    >>> [layer.name for layer in model.layers][:4]
    ['features', 'experts', 'clicked_tower', 'price_tower']
    >>> [gate.path for gate in model.get_layer("experts").extractions[0].gates]
    ['experts/level_0/gate_clicked', 'experts/level_0/gate_price', 'experts/level_0/shared_gate']
    """
    num_shared = checked_count(num_shared, "num_shared", minimum=0)
    draft = MixtureDraft(
        tasks, inputs, name, trunk, expert_units, towers, activation, dropout, **options
    )
    extraction = ProgressiveLayeredExtraction(
        len(draft.names),
        draft.bank(experts),
        draft.bank(num_shared) if num_shared else None,
        levels=levels,
        gate=gate,
        task_names=draft.names,
        name="experts",
    )
    return draft.model_on(extraction(draft.features))
