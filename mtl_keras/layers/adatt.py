"""AdaTT: adaptive task-to-task fusion."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_count
from mtl_keras.layers.copies import pattern_config
from mtl_keras.layers.expert_health import ExpertHealth
from mtl_keras.layers.experts import Experts
from mtl_keras.layers.gate import Gate
from mtl_keras.layers.layer_metric import log_key
from mtl_keras.layers.mixing import mix
from mtl_keras.layers.mixture import (
    checked_gate,
    first_mask,
    gate_copy,
    inputs_of,
    names_of,
    own_copy,
    with_layers,
)


@keras.saving.register_keras_serializable(package="mtl_keras")
class AdaTT(keras.layers.Layer):
    """One fusion level: a task adds to its own experts a gated mixture of everyone's.

    y_k = sum_e g_k(x_k)_e H_e + sum_i v_k,i h_k,i, with h_k,i the experts of task k on x_k, H
    the experts of all units, g_k a gate and v_k learned weights of the own experts, which
    start at their mean. What a task has of its own thus has a path that no gate can close,
    which `CustomizedGateControl` lacks; and it can read the experts of other tasks directly.
    Further units without a task (`num_shared`) work alike. Stack levels by passing the tuple
    on.

    Args:
        num_tasks: K.
        experts: pattern of each unit's bank.
        num_shared: number of shared units S; default 0 (AdaTT-sp).
        gate: pattern of the gates, with `num_experts` open; default `SoftmaxGate()`.
        shared_output: whether the shared units' outputs are given too, for a next level;
            default `False`.
        track_health: whether `ExpertHealth` reports, in training. Default `False`.
        task_names: of the K tasks, after which banks and gates are named; default their numbers.

    Call arguments:
        features: (batch, ..., channels) for all, or a tuple of K + S, the tasks' first.

    Output shape:
        a tuple of K, or K + S with `shared_output`, (batch, ..., units) each

    Raises:
        ValueError: for bad counts, a built bank, a tuple of another length, and gates that are
            not finite.

    Example:

    >>> layer = mtl_keras.layers.AdaTT(2, mtl_keras.layers.Experts(3, 8))
    >>> [y.shape for y in layer(np.ones((2, 5)))]
    [TensorShape([2, 8]), TensorShape([2, 8])]

    Reference:
        Li et al., 2023, AdaTT: Adaptive Task-to-Task Fusion Network for Multitask Learning in
        Recommendations, section 3.
    """

    def __init__(
        self,
        num_tasks: int,
        experts: Experts,
        num_shared: int = 0,
        gate: Gate | None = None,
        shared_output: bool = False,
        track_health: bool = False,
        task_names: Sequence[str] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_tasks = checked_count(num_tasks, "num_tasks")
        self.num_shared = checked_count(num_shared, "num_shared", minimum=0)
        self.shared_output = shared_output
        self.track_health = track_health
        self.supports_masking = True
        self.patterns = {
            "experts": pattern_config(experts),
            "gate": checked_gate(gate) and pattern_config(gate),
        }
        units, policy = num_tasks + num_shared, self.dtype_policy
        self.task_names = task_names and list(task_names)
        # No task has a name that begins like those of shared units.
        names = [
            [f"{part}_{name}" for name in names_of(task_names, num_tasks)]
            + [f"shared_{part}_{u}" for u in range(self.num_shared)]
            for part in ("experts", "gate")
        ]
        self.banks = [own_copy(experts, name, policy, u) for u, name in enumerate(names[0])]
        self.num_outputs = units if shared_output else num_tasks
        self.gates = [
            gate_copy(gate, units * experts.num_experts, u, name, policy)
            for u, name in enumerate(names[1][: self.num_outputs])
        ]

    def build(self, features_shape: tuple) -> None:
        """Builds experts and gates, and makes the weights of own experts."""
        inputs = self._inputs(features_shape)
        for bank, shape in zip(self.banks, inputs, strict=True):
            bank.build(shape)
        for gate, shape in zip(self.gates, inputs, strict=False):
            gate.build(shape)
        count = self.banks[0].num_experts
        self.native = self.add_weight(
            name="native",
            shape=(self.num_outputs, count),
            initializer=keras.initializers.Constant(1 / count),
        )
        self.health = None
        if self.track_health:
            sizes = [gate.num_experts for gate in self.gates]
            self.health = ExpertHealth(log_key(self, "experts"), sizes)

    def _inputs(self, features):
        return inputs_of(features, len(self.banks), "`num_tasks` + `num_shared`")

    def call(self, features: Any, training: bool | None = None) -> tuple:
        """The fusion of each unit."""
        inputs = self._inputs(features)
        own = [bank(x, training=training) for bank, x in zip(self.banks, inputs, strict=True)]
        every = ops.concatenate(own, axis=-2)
        gates = [gate(x, training=training) for gate, x in zip(self.gates, inputs, strict=False)]
        if self.health is not None and training:
            self.health.update_state(gates, every)
        native = [
            ops.sum(own[u] * ops.expand_dims(self.native[u], -1), axis=-2)
            for u in range(self.num_outputs)
        ]
        return tuple(a + b for a, b in zip(mix(gates, every), native, strict=True))

    def output_variables(self) -> list[list]:
        """For each output, the trainable variables that it depends on: its gate is its own."""
        banks = [variable for bank in self.banks for variable in bank.trainable_variables]
        shared = [*banks, self.native] if self.native.trainable else banks
        return [[*shared, *gate.trainable_variables] for gate in self.gates]

    def compute_output_shape(self, features_shape: tuple) -> tuple:
        """One shape an output."""
        shapes = self._inputs(features_shape)
        units = self.banks[0].compute_output_shape(shapes[0])[-1]
        return tuple((*shape[:-1], units) for shape in shapes[: self.num_outputs])

    def compute_mask(self, features: Any, previous_mask: Any = None) -> tuple:
        """The first mask of the features, an output."""
        return (first_mask(previous_mask),) * self.num_outputs

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            **super().get_config(),
            **self.patterns,
            "num_tasks": self.num_tasks,
            "num_shared": self.num_shared,
            "shared_output": self.shared_output,
            "track_health": self.track_health,
            "task_names": self.task_names,
        }

    @classmethod
    def from_config(cls, config: dict) -> "AdaTT":
        """The inverse of `get_config`."""
        return cls(**with_layers(config, "experts", "gate"))
