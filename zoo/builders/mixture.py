"""What builders with experts have in common: a trunk before the mixture, towers after it."""

from collections.abc import Sequence
from typing import Any

import keras

from mtl_keras import MultiTaskModel, Task
from mtl_keras.layers import Experts
from zoo.builders.backbone import Backbone
from zoo.builders.draft import Draft


class MixtureDraft(Draft):
    """A draft with expert banks to be mixed, after a trunk, before towers.

    Args:
        tasks: the tasks.
        inputs: as in `encode_inputs`.
        name: of the model.
        trunk: see `zoo.multi_gate_mixture_of_experts`, as all that follow.
        expert_units: see there.
        towers: see there.
        activation: see there.
        dropout: see there.
        options: see `ModelOptions`.

    Attributes:
        features: what experts and gates read.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        inputs: Any,
        name: str,
        trunk: Sequence[int] | keras.layers.Layer | None,
        expert_units: Sequence[int] | keras.layers.Layer,
        towers: Sequence[int] | keras.layers.Layer | None,
        activation: Any,
        dropout: float,
        **options: Any,
    ):
        trunk = Backbone(trunk, activation, dropout, optional=True)
        self._expert = Backbone(expert_units, activation, dropout, "expert_units")
        self._towers = Backbone(towers, activation, dropout, "towers", optional=True)
        as_vector = trunk.reads_vectors if trunk.depth else self._expert.reads_vectors
        super().__init__(tasks, inputs, name, as_vector, **options)
        shared = trunk.first(trunk.depth, "trunk")
        self.features = shared(self.encoded) if shared else self.encoded
        if not isinstance(self.features, keras.KerasTensor):
            raise ValueError(
                "Experts and gates read one tensor: `trunk` must return one. "
                f"Received: {self.features}"
            )

    def bank(self, count: int) -> Experts:
        """A pattern of `count` experts.

        Raises:
            ValueError: for a bad count, and experts that change the positions, which gates weigh.
        """
        expert = self._expert
        if expert.widths is not None:
            return Experts(count, expert.widths, expert.activation, dropout=expert.dropout)
        bank, read = Experts(count, expert=expert.given), tuple(self.features.shape)
        given = bank.compute_output_shape(read)
        if given[:-2] != read[:-1]:
            raise ValueError(
                "`expert_units` must be widths, or a layer that keeps all axes but the last: gates "
                "weigh positions. Let `trunk` change them. "
                f"Received: {expert.given}, from {read} to {(*given[:-2], given[-1])}"
            )
        return bank

    def towers_on(self, mixtures: Sequence[Any]) -> dict[str, Any]:
        """By task, what its tower makes of its mixture; mixtures are in task order."""
        return self._towers.towers_on(dict(zip(self.names, mixtures, strict=True)))

    def model_on(self, mixtures: Sequence[Any]) -> MultiTaskModel:
        """The compiled model, whose towers read a mixture a task, in task order."""
        return self.model(self.towers_on(mixtures))
