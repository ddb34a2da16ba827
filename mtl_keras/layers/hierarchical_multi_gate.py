"""HierarchicalMultiGate: experts for all tasks, for groups of tasks, and for each task."""

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
from mtl_keras.layers.mixture import first_mask, gate_copy, with_layers


@keras.saving.register_keras_serializable(package="mtl_keras")
class HierarchicalMultiGate(keras.layers.Layer):
    """Two levels of experts under a hierarchy of tasks, in the manner of HoME.

    The first level has a bank for all tasks and one a group; a gate for all mixes the experts
    of all of them into z, a gate a group mixes its own and the common ones into z_g. The second
    level has a bank for all tasks on z, one a group on z_g, and one a task on its group's z_g;
    a task's gate, on z_g, mixes those three. The hierarchy mask is which experts a gate sees:
    never those of another group or task.

    An expert is swish(norm(W (x * feature gate(x)))): normalised so that experts stay on one
    scale and alive, and reading its own choice of the features. Left out of HoME: its
    self-gate, and deeper experts.

    Args:
        groups: the group of each task, numbers from 0: (0, 0, 1) is two tasks and one.
        num_experts: experts a bank.
        units: width of an expert.
        feature_gate_rank: rank of the feature gates; `None` for none. Default 8.
        normalization: "batch" (HoME) or "layer"; default "batch".
        activation: default "swish".
        gate: pattern of the gates, with `num_experts` open; default `SoftmaxGate()`.
        track_health: whether `ExpertHealth` reports on the tasks' gates, in training. Default
            `False`.

    Call arguments:
        features: (batch, ..., channels).

    Output shape:
        a tuple, one a task, (batch, ..., units) each

    Raises:
        ValueError: for groups that are not 0 to G - 1, bad counts, and gates that are not
            finite.

    Example:

    >>> layer = mtl_keras.layers.HierarchicalMultiGate((0, 0, 1), num_experts=2, units=8)
    >>> [y.shape for y in layer(np.ones((4, 5)))]
    [TensorShape([4, 8]), TensorShape([4, 8]), TensorShape([4, 8])]

    Reference:
        Wang et al., 2024, HoME: Hierarchy of Multi-Gate Experts for Multi-Task Learning at
        Kuaishou, section 3.
    """

    def __init__(
        self,
        groups: Sequence[int],
        num_experts: int,
        units: int,
        feature_gate_rank: int | None = 8,
        normalization: str | None = "batch",
        activation: Any = "swish",
        gate: Gate | None = None,
        track_health: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.groups = _checked_groups(groups)
        self.num_experts = checked_count(num_experts, "num_experts")
        self.units = checked_count(units, "units")
        self.feature_gate_rank = feature_gate_rank
        self.normalization = normalization
        self.activation = keras.activations.get(activation)
        self.gate_config = gate and pattern_config(gate)
        self.track_health = track_health
        self.supports_masking = True
        num_groups = max(self.groups) + 1
        self.meta_banks = self._banks("meta", num_groups)
        self.group_banks = self._banks("group", num_groups)
        self.task_banks = self._banks("task", len(self.groups))[1:]
        sizes = [num_groups + 1, *[2] * num_groups, *[3] * len(self.groups)]
        names = ["shared", *range(num_groups), *[f"task_{k}" for k in range(len(self.groups))]]
        self.gates = [
            gate_copy(gate, size * num_experts, i, f"gate_{name}", self.dtype_policy)
            for i, (size, name) in enumerate(zip(sizes, names, strict=True))
        ]

    def _banks(self, level, count):
        """The shared bank of a level, then one a group or task."""
        return [
            Experts(
                self.num_experts,
                self.units,
                activation=self.activation,
                normalization=self.normalization,
                feature_gate_rank=self.feature_gate_rank,
                name=f"{level}_experts_{name}",
                dtype=self.dtype_policy,
            )
            for name in ("shared", *range(count))
        ]

    def build(self, features_shape: tuple) -> None:
        """Builds experts and gates."""
        hidden = (*features_shape[:-1], self.units)
        num_meta = len(self.meta_banks)
        for bank in self.meta_banks:
            bank.build(features_shape)
        for bank in self.group_banks + self.task_banks:
            bank.build(hidden)
        for index, gate in enumerate(self.gates):
            gate.build(features_shape if index < num_meta else hidden)
        self.health = None
        if self.track_health:
            sizes = [gate.num_experts for gate in self.gates[num_meta:]]
            self.health = ExpertHealth(log_key(self, "experts"), sizes)

    def call(self, features: Any, training: bool | None = None) -> tuple:
        """The mixture of each task."""
        num_meta = len(self.meta_banks)
        shared, *groups = self._meta(features, self.gates[:num_meta], training)
        common, *own = self._outputs(self.group_banks, [shared, *groups], training)
        contexts = [groups[group] for group in self.groups]
        tasks = self._outputs(self.task_banks, contexts, training)
        gates = self._weights(self.gates[num_meta:], contexts, training)
        seen = [
            ops.concatenate([common, own[group], task], axis=-2)
            for group, task in zip(self.groups, tasks, strict=True)
        ]
        if self.health is not None and training:
            self.health.update_state(gates, ops.concatenate([common, *own, *tasks], axis=-2))
        return tuple(mix([gate], bank)[0] for gate, bank in zip(gates, seen, strict=True))

    def _meta(self, features, gates, training):
        outputs = self._outputs(self.meta_banks, [features] * len(gates), training)
        weights = self._weights(gates, [features] * len(gates), training)
        seen = [ops.concatenate(outputs, axis=-2)]
        seen += [ops.concatenate([outputs[0], own], axis=-2) for own in outputs[1:]]
        return [mix([gate], bank)[0] for gate, bank in zip(weights, seen, strict=True)]

    def _outputs(self, banks, inputs, training):
        return [bank(x, training=training) for bank, x in zip(banks, inputs, strict=True)]

    def _weights(self, gates, inputs, training):
        return [gate(x, training=training) for gate, x in zip(gates, inputs, strict=True)]

    def compute_output_shape(self, features_shape: tuple) -> tuple:
        """One shape a task."""
        return ((*features_shape[:-1], self.units),) * len(self.groups)

    def compute_mask(self, features: Any, previous_mask: Any = None) -> tuple:
        """The mask of the features, a task."""
        return (first_mask(previous_mask),) * len(self.groups)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "groups": self.groups,
            "num_experts": self.num_experts,
            "units": self.units,
            "feature_gate_rank": self.feature_gate_rank,
            "normalization": self.normalization,
            "activation": keras.activations.serialize(self.activation),
            "gate": self.gate_config,
            "track_health": self.track_health,
        }

    @classmethod
    def from_config(cls, config: dict) -> "HierarchicalMultiGate":
        """The inverse of `get_config`."""
        return cls(**with_layers(config, "gate"))


def _checked_groups(groups):
    groups = list(groups)
    if not groups or sorted(set(groups)) != list(range(max(groups) + 1)):
        raise ValueError(
            "`groups` must hold a group for each task, numbered from 0 without a gap. "
            f"Received: groups={groups}"
        )
    return groups
