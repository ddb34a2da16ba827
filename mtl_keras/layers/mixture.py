"""Mixture: the base of layers in which gates mix one bank of experts."""

from collections.abc import Sequence
from typing import Any

import keras

from mtl_keras.layers.copies import independent_layer, pattern_config
from mtl_keras.layers.expert_health import ExpertHealth
from mtl_keras.layers.experts import Experts
from mtl_keras.layers.gate import Gate
from mtl_keras.layers.layer_metric import log_key
from mtl_keras.layers.mixing import mix
from mtl_keras.layers.softmax_gate import SoftmaxGate


class Mixture(keras.layers.Layer):
    """Experts, and a gate an output.

    Args:
        experts: the bank; copied, so that the caller's object stays as it is.
        gate: pattern of the gates; default `SoftmaxGate()`.
        gate_names: names of the gates, one an output.
        track_health: whether `ExpertHealth` reports on them in training.
    """

    def __init__(
        self,
        experts: Experts,
        gate: Gate | None,
        gate_names: list[str],
        track_health: bool,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.experts = own_copy(experts, "experts", self.dtype_policy)
        self.gates = [
            gate_copy(gate, experts.num_experts, index, name, self.dtype_policy)
            for index, name in enumerate(gate_names)
        ]
        self.gate_config = gate and pattern_config(gate)
        self.track_health = track_health
        self.supports_masking = True

    def build(self, features_shape: tuple, context_shape: tuple | None = None) -> None:
        """Builds experts and gates."""
        self.experts.build(features_shape)
        for gate in self.gates:
            gate.build(context_shape or features_shape)
        self.health = None
        if self.track_health:
            sizes = [self.experts.num_experts] * len(self.gates)
            self.health = ExpertHealth(log_key(self, "experts"), sizes)

    def weights_of(self, features: Any, context: Any, training: bool | None) -> list:
        """What the gates make of the context, or else of the features."""
        seen = features if context is None else context
        return [gate(seen, training=training) for gate in self.gates]

    def mixed(self, features: Any, gates: list, training: bool | None) -> tuple:
        """The mixtures, all experts computed."""
        outputs = self.experts(features, training=training)
        if self.health is not None and training:
            self.health.update_state(gates, outputs)
        return mix(gates, outputs)

    def output_variables(self) -> list[list]:
        """For each output, the trainable variables that it depends on: its gate is its own."""
        shared = self.experts.trainable_variables
        return [[*shared, *gate.trainable_variables] for gate in self.gates]

    def mixture_shape(self, features_shape: tuple) -> tuple:
        """The shape of one mixture."""
        shape = self.experts.compute_output_shape(features_shape)
        return (*shape[:-2], shape[-1])

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "experts": pattern_config(self.experts),
            "gate": self.gate_config,
            "track_health": self.track_health,
        }

    @classmethod
    def from_config(cls, config: dict) -> "Mixture":
        """The inverse of `get_config`."""
        return cls(**with_layers(config, "experts", "gate"))


def own_copy(experts: Experts, name: str, policy: Any, *index: int) -> Experts:
    """A copy of a bank under a name and policy of its owner."""
    if not isinstance(experts, Experts):
        raise ValueError(f"Experts must be given as an Experts layer. Received: {experts}")
    if experts.built:
        raise ValueError(
            "`experts` is a pattern that is copied, and must not be built. "
            f"Received: the built layer '{experts.name}'"
        )
    return independent_layer(experts, *index, name=name, dtype=policy)


def gate_copy(gate: Gate | None, num_experts: int, index: int, name: str, policy: Any) -> Gate:
    """The gate of an output, made after a pattern."""
    gate = checked_gate(gate) or SoftmaxGate()
    return gate.for_experts(num_experts, index, name=name, dtype=policy)


def checked_gate(gate: Any) -> Gate | None:
    """`gate` when it is one, or `None`."""
    if gate is not None and not isinstance(gate, Gate):
        raise ValueError(f"`gate` must be a gate, such as SoftmaxGate(). Received: gate={gate!r}")
    return gate


def with_layers(config: dict, *names: str) -> dict:
    """`config` with the layers of these names revived."""
    revive = keras.saving.deserialize_keras_object
    return config | {name: config[name] and revive(config[name]) for name in names}


def names_of(task_names: Sequence[str] | None, num_tasks: int) -> list[str]:
    """What parts that belong to a task are named after: the tasks, or their numbers.

    Raises:
        ValueError: when there is not one name a task, all of them different.
    """
    if task_names is None:
        return [str(index) for index in range(num_tasks)]
    names = [task_names] if isinstance(task_names, str) else list(task_names)
    valid = all(isinstance(name, str) and name and "/" not in name for name in names)
    if not valid or len(names) != num_tasks or len(set(names)) != num_tasks:
        raise ValueError(
            f"`task_names` must be {num_tasks} different names without '/'. "
            f"Received: task_names={task_names!r}"
        )
    return names


def inputs_of(features: Any, count: int, meaning: str) -> tuple:
    """`features`, or their shapes, as one a unit; a single one goes to all."""
    if isinstance(features, (tuple, list)) and not isinstance(features[0], (int, type(None))):
        if len(features) != count:
            raise ValueError(
                f"`features` must be one tensor, or a tuple of {meaning} = {count}. "
                f"Received: a tuple of {len(features)}"
            )
        return tuple(features)
    return (features,) * count


def first_mask(masks: Any) -> Any:
    """The first mask among those of the inputs."""
    return next((mask for mask in keras.tree.flatten(masks) if mask is not None), None)
