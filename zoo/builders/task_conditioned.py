"""One network that is told its task."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import keras
import numpy as np

from mtl_keras import MultiTaskModel, Task
from mtl_keras.checks import checked_choice, checked_count
from mtl_keras.layers import (
    AdditiveConditioning,
    ConcatConditioning,
    ConstantContext,
    FiLM,
    HyperAdapter,
    MultiplicativeConditioning,
    TaskAdapter,
    TaskEmbedding,
)
from zoo.builders.backbone import Backbone
from zoo.builders.draft import Draft, ModelOptions

CONDITIONINGS = ("gate", "concat", "add", "multiply", "film", "adapter", "hyper")


def task_conditioned(
    tasks: Sequence[Task],
    inputs: Any,
    trunk: Sequence[int] | keras.layers.Layer = (128, 64),
    *,
    conditioning: str = "film",
    row_input: str | None = None,
    num_row_tasks: int | None = None,
    share: float = 0.0,
    embedding: int | None = None,
    bottleneck: int = 16,
    activation: Any = "relu",
    dropout: float = 0.0,
    name: str = "task_conditioned",
    **options: Unpack[ModelOptions],
) -> MultiTaskModel:
    """A compiled model of one trunk f(x, z), which is told the task z.

    After every block of the trunk a layer changes what the block gave, h, as the task says, with
    z the task's one-hot row or a learned embedding of it:

    - "gate": h_z, of a trunk a task: nothing is shared, as in `zoo.single_task`.
    - "concat": activation(W [h; z] + b), and "add": activation(W1 h + W2 z + b). For widths
      these are the dense layers of the trunk; blocks of another trunk are followed by them, with
      as many channels and no activation.
    - "multiply": (W1 h) * (W2 z + c), with W1 at first the identity and the factors one.
    - "film": (1 + dgamma(z)) * h + beta(z), at first h.
    - "adapter": h + V_z g(U_z h + a_z) + c_z, a bottleneck a task, at first h.
    - "hyper": the same with weights that are affine in an embedding of z, at first h.

    The tasks are told apart in one of two ways:

    - Tasks as outputs: all tasks are wanted for each row. The trunk is applied once a task, and
      each head reads its own result; a step costs about as much as a network a task.
    - Tasks as rows, with `row_input`: each row belongs to one of `num_row_tasks` (a language, a
      shop, a domain), which a further input of ids, (batch,), says. The trunk is applied
      once, each row under its own condition (for "gate", all trunks are), and `tasks` are what
      is predicted for every row, often one. Their heads are the same for all rows. A balancer
      then weighs the losses of the rows' tasks: see `row_tasks` in `MultiTaskModel.compile`.

    Sources: Finn 2019, Stanford CS330, on conditioning by a task; Perez et al. 2018, "FiLM";
    and those that the layers name. Where each of a layer's positions is told the task, heads
    may label positions.

    Args:
        tasks: the tasks.
        inputs: as in `zoo.shared_trunk`.
        trunk: widths of dense layers, or any Keras layer or model. A `keras.Sequential` is
            conditioned between its blocks, anything else on its output; feature maps and
            sequences are conditioned by channel.
        conditioning: one of the above.
        row_input: name of the input of ids, where tasks are rows.
        num_row_tasks: how many tasks it tells apart; ids are 0 ... num_row_tasks - 1.
        share: how much of the trunk's depth, from the input on, is not told the task: 0
            conditions every block, 1 none, which gives `zoo.shared_trunk`.
        embedding: width of a learned embedding of the task in place of its one-hot row; not for
            "gate" and "adapter", which have weights a task.
        bottleneck: width of the bottlenecks of "adapter" and "hyper".
        activation: of the dense layers.
        dropout: rate after each of the dense layers.
        name: name of the model.
        options: see `zoo.builders.ModelOptions`.

    Raises:
        ValueError: as `zoo.shared_trunk`; for an unknown `conditioning`, an `embedding` that
            it does not read, and `row_input` without `num_row_tasks`.

    Example:

    >>> domains = task_conditioned(
    ...     [BinaryTask("positive")], 4, trunk=[8], row_input="domain", num_row_tasks=16
    ... )
    >>> rows = {"features": np.zeros((3, 4)), "domain": np.array([0, 7, 15])}
    >>> domains.predict(rows, verbose=0)["positive"].shape
    (3, 1)
    >>> model = task_conditioned([BinaryTask("clicked"), RegressionTask("price")], 4, trunk=[8])
    >>> sorted(model.predict(np.zeros((3, 4)), verbose=0))
    ['clicked', 'price']
    """
    checked_choice(conditioning, "conditioning", CONDITIONINGS)
    weights_a_task = conditioning in ("gate", "adapter")
    if embedding is not None and checked_count(embedding, "embedding") and weights_a_task:
        raise ValueError(
            f"`embedding` must be None for conditioning='{conditioning}', which has weights a "
            f"task. Received: embedding={embedding}"
        )
    backbone = Backbone(trunk, activation, dropout)
    count = backbone.num_shared(share)
    draft = Draft(tasks, inputs, name, as_vector=backbone.reads_vectors, **options)
    ids = draft.row_ids(row_input, num_row_tasks)
    first = backbone.first(count, "trunk")
    features = first(draft.encoded) if first else draft.encoded
    if conditioning == "gate":
        if ids is None:
            # Of a gate that always chooses the same branch the branch is left.
            return draft.model(backbone.towers(draft.names, features, start=count))
        gate = backbone.gate(row_input, num_row_tasks, start=count)
        features = gate(features, ids) if gate else features
        return draft.model(dict.fromkeys(draft.names, features))
    num_tasks = len(draft.tasks) if ids is None else num_row_tasks
    told = _ToldTrunk(conditioning, backbone, count, num_tasks, bottleneck)
    features = told.enter(features)
    mode = "one_hot" if embedding is None else "learned"
    embed = TaskEmbedding(embedding, num_tasks, mode, name="task_embedding")
    if ids is not None:
        return draft.model(dict.fromkeys(draft.names, told(features, embed(ids))))
    contexts = [
        ConstantContext(row, name=f"{task}_context")(keras.tree.flatten(draft.encoded)[0])
        for row, task in zip(np.eye(num_tasks).tolist(), draft.names, strict=True)
    ]
    contexts = [embed(context) for context in contexts] if embedding is not None else contexts
    return draft.model(
        {task: told(features, z) for task, z in zip(draft.names, contexts, strict=True)}
    )


class _ToldTrunk:
    """The blocks of a trunk from `start` on, each with a layer that is told the task."""

    def __init__(self, conditioning, backbone, start, num_tasks, bottleneck):
        self.conditioning, self.backbone = conditioning, backbone
        self.num_tasks, self.bottleneck = num_tasks, checked_count(bottleneck, "bottleneck")
        # There the dense layers themselves are told.
        self.inside = backbone.widths is not None and conditioning in ("concat", "add")
        # Layers as they are, and the places of those that are told.
        self.steps = []
        for i in range(start, backbone.depth):
            block = None if self.inside else backbone.part(f"trunk_{i}", i, i + 1)
            after = backbone.new_dropout(f"trunk_dropout_{i}") if self.inside else None
            self.steps += [step for step in (block, str(i), after) if step is not None]
        # The same layers for every task.
        self.layer = functools.cache(self._new_layer)

    def enter(self, features):
        """What comes before any layer that is told the task, once for all of them."""
        while self.steps and not isinstance(self.steps[0], str):
            features = self.steps.pop(0)(features)
        return features

    def __call__(self, features, context):
        for step in self.steps:
            told = isinstance(step, str)
            features = self._told(step, features, context) if told else step(features)
        return features

    def _told(self, place, features, context):
        if isinstance(features, Mapping):
            return {
                key: self._told(f"{place}_{key}", value, context) for key, value in features.items()
            }
        return self.layer(place, features.shape[-1])(features, context)

    def _new_layer(self, place, channels):
        name = f"{self.conditioning}_{place}"
        if self.conditioning in ("concat", "add"):
            kind = ConcatConditioning if self.conditioning == "concat" else AdditiveConditioning
            if self.inside:
                units = self.backbone.widths[int(place)]
                return kind(units, activation=self.backbone.activation, name=name)
            return kind(channels, name=name)
        if self.conditioning == "multiply":
            return MultiplicativeConditioning(name=name)
        if self.conditioning == "film":
            return FiLM(name=name)
        if self.conditioning == "adapter":
            return TaskAdapter(self.num_tasks, self.bottleneck, name=name)
        return HyperAdapter(self.bottleneck, name=name)
