"""CustomizedGateControl: experts that belong to a task, beside experts that are shared."""

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
class CustomizedGateControl(keras.layers.Layer):
    """One extraction level: a task's gate mixes its own experts and the shared ones (CGC).

    y_k = sum_e g_k(x_k)_e S_k,e, with S_k the outputs of task k's experts on x_k followed by
    those of the shared experts on x_shared. Experts of other tasks are out of reach, which
    keeps tasks from harming each other (the seesaw); `MultiGateMixtureOfExperts` shares all.
    With `shared_output` a further gate, on x_shared, mixes the experts of ALL tasks and the
    shared ones, in that order, for the next level of `ProgressiveLayeredExtraction`.

    Args:
        num_tasks: K.
        task_experts: pattern of each task's bank.
        shared_experts: pattern of the shared bank, with the same last width; default `None`, no
            shared experts: the tasks are separate.
        gate: pattern of the gates, with `num_experts` open; default `SoftmaxGate()`.
        shared_output: whether the shared gate's mixture is given too; default `False`.
        track_health: whether `ExpertHealth` reports, in training. Default `False`.
        task_names: of the K tasks, after which banks and gates are named; default their numbers.

    Call arguments:
        features: (batch, ..., channels) for all, or a tuple of K + 1, the tasks' and then the
            shared one's; of K without shared experts.

    Output shape:
        a tuple of K, or K + 1 with `shared_output`, (batch, ..., units) each

    Raises:
        ValueError: for a bad count, built banks, banks of different widths, a shared output
            without shared experts, a tuple of another length, and gates that are not finite.

    Example:

    >>> own, shared = mtl_keras.layers.Experts(2, 8), mtl_keras.layers.Experts(1, 8)
    >>> layer = mtl_keras.layers.CustomizedGateControl(2, own, shared)
    >>> [y.shape for y in layer(np.ones((2, 5)))]
    [TensorShape([2, 8]), TensorShape([2, 8])]

    Reference:
        Tang et al., 2020, Progressive Layered Extraction (PLE): A Novel Multi-Task Learning
        Model for Personalized Recommendations, equations 1 to 4.
    """

    def __init__(
        self,
        num_tasks: int,
        task_experts: Experts,
        shared_experts: Experts | None = None,
        gate: Gate | None = None,
        shared_output: bool = False,
        track_health: bool = False,
        task_names: Sequence[str] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_tasks = checked_count(num_tasks, "num_tasks")
        self.shared_output = shared_output
        self.track_health = track_health
        self.supports_masking = True
        self.patterns = {
            "task_experts": pattern_config(task_experts),
            "shared_experts": shared_experts and pattern_config(shared_experts),
            "gate": checked_gate(gate) and pattern_config(gate),
        }
        if shared_output and shared_experts is None:
            raise ValueError(
                "`shared_output` needs `shared_experts`. Received: shared_output=True, "
                "shared_experts=None"
            )
        self.task_names = task_names and list(task_names)
        names, policy = names_of(task_names, num_tasks), self.dtype_policy
        self.task_banks = [
            own_copy(task_experts, f"experts_{name}", policy, k) for k, name in enumerate(names)
        ]
        # "shared" may be the name of a task: not "experts_shared".
        self.shared_bank = shared_experts and own_copy(
            shared_experts, "shared_experts", policy, num_tasks
        )
        own, shared = task_experts.num_experts, shared_experts.num_experts if shared_experts else 0
        self.gates = [
            gate_copy(gate, own + shared, k, f"gate_{name}", policy) for k, name in enumerate(names)
        ]
        if shared_output:
            every = num_tasks * own + shared
            self.gates.append(gate_copy(gate, every, num_tasks, "shared_gate", policy))

    def build(self, features_shape: tuple) -> None:
        """Builds experts and gates."""
        inputs = self._inputs(features_shape)
        shapes = []
        for bank, shape in zip(self._banks(), inputs, strict=True):
            bank.build(shape)
            shapes.append(bank.compute_output_shape(shape))
        if len({shape[-1] for shape in shapes}) != 1:
            raise ValueError(
                "`task_experts` and `shared_experts` must end in one width. "
                f"Received: outputs of shapes {shapes}"
            )
        for gate, shape in zip(self.gates, inputs, strict=False):
            gate.build(shape)
        self.health = None
        if self.track_health:
            self.health = ExpertHealth(
                log_key(self, "experts"), [gate.num_experts for gate in self.gates]
            )

    def _banks(self):
        return self.task_banks if self.shared_bank is None else [*self.task_banks, self.shared_bank]

    def _inputs(self, features):
        if self.shared_bank is None:
            return inputs_of(features, self.num_tasks, "`num_tasks`")
        return inputs_of(features, self.num_tasks + 1, "`num_tasks` + 1")

    def call(self, features: Any, training: bool | None = None) -> tuple:
        """The mixture of each task, and the shared one."""
        inputs = self._inputs(features)
        outputs = [b(x, training=training) for b, x in zip(self._banks(), inputs, strict=True)]
        own, common = outputs[: self.num_tasks], outputs[self.num_tasks :]
        banks = [ops.concatenate([bank, *common], axis=-2) for bank in own] if common else own
        every = None
        if self.shared_output or self.health is not None:
            every = ops.concatenate(outputs, axis=-2)
        if self.shared_output:
            banks.append(every)
        gates = [gate(x, training=training) for gate, x in zip(self.gates, inputs, strict=False)]
        if self.health is not None and training:
            self.health.update_state(gates, every)
        return tuple(mix([gate], bank)[0] for gate, bank in zip(gates, banks, strict=True))

    def output_variables(self) -> list[list]:
        """For each output, the trainable variables that it depends on."""
        banks = [bank.trainable_variables for bank in self.task_banks]
        read = [*banks, [v for bank in banks for v in bank]] if self.shared_output else banks
        common = self.shared_bank.trainable_variables if self.shared_bank else []
        return [
            [*own, *common, *gate.trainable_variables]
            for own, gate in zip(read, self.gates, strict=True)
        ]

    def compute_output_shape(self, features_shape: tuple) -> tuple:
        """One shape an output."""
        inputs = self._inputs(features_shape)
        units = self.task_banks[0].compute_output_shape(inputs[0])[-1]
        return tuple((*shape[:-1], units) for shape in inputs[: len(self.gates)])

    def compute_mask(self, features: Any, previous_mask: Any = None) -> tuple:
        """The first mask of the features, an output."""
        return (first_mask(previous_mask),) * len(self.gates)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            **super().get_config(),
            **self.patterns,
            "num_tasks": self.num_tasks,
            "shared_output": self.shared_output,
            "track_health": self.track_health,
            "task_names": self.task_names,
        }

    @classmethod
    def from_config(cls, config: dict) -> "CustomizedGateControl":
        """The inverse of `get_config`."""
        return cls(**with_layers(config, "task_experts", "shared_experts", "gate"))
