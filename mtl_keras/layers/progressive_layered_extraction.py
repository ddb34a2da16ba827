"""ProgressiveLayeredExtraction: levels of shared and task-specific experts."""

from collections.abc import Sequence
from typing import Any

import keras

from mtl_keras.checks import checked_count
from mtl_keras.layers.copies import pattern_config
from mtl_keras.layers.customized_gate_control import CustomizedGateControl
from mtl_keras.layers.experts import Experts
from mtl_keras.layers.gate import Gate
from mtl_keras.layers.mixture import checked_gate, first_mask, with_layers


@keras.saving.register_keras_serializable(package="mtl_keras")
class ProgressiveLayeredExtraction(keras.layers.Layer):
    """Levels of `CustomizedGateControl`: tasks part from what they share step by step (PLE).

    Each level but the last also passes on a shared mixture, whose gate sees the experts of all
    tasks and the shared ones. One level is `CustomizedGateControl`.

    Args:
        num_tasks: K.
        task_experts: pattern of each task's bank: one for all levels, or a list, one a level.
        shared_experts: pattern of the shared bank, likewise; default `None`, no shared experts:
            the tasks are separate.
        levels: number of levels; default 2.
        gate: pattern of all gates, with `num_experts` open; default `SoftmaxGate()`.
        track_health: whether `ExpertHealth` reports on every level, in training. Default
            `False`.
        task_names: of the K tasks, after which banks and gates are named; default their numbers.

    Call arguments:
        features: (batch, ..., channels).

    Output shape:
        a tuple of K, (batch, ..., units) each

    Raises:
        ValueError: for bad counts, a list of another length, built banks, and gates that are
            not finite.

    Example:

    >>> own, shared = mtl_keras.layers.Experts(2, 8), mtl_keras.layers.Experts(1, 8)
    >>> layer = mtl_keras.layers.ProgressiveLayeredExtraction(3, own, shared, levels=2)
    >>> len(layer(np.ones((2, 5))))
    3

    Reference:
        Tang et al., 2020, Progressive Layered Extraction (PLE): A Novel Multi-Task Learning
        Model for Personalized Recommendations, equations 5 to 8.
    """

    def __init__(
        self,
        num_tasks: int,
        task_experts: Experts | Sequence[Experts],
        shared_experts: Experts | Sequence[Experts] | None = None,
        levels: int = 2,
        gate: Gate | None = None,
        track_health: bool = False,
        task_names: Sequence[str] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_tasks = checked_count(num_tasks, "num_tasks")
        self.levels = checked_count(levels, "levels")
        self.track_health = track_health
        self.supports_masking = True
        own = _one_a_level(task_experts, levels, "task_experts")
        shared = [None] * levels
        if shared_experts is not None:
            shared = _one_a_level(shared_experts, levels, "shared_experts")
        self.task_names = task_names and list(task_names)
        self.patterns = {
            "task_experts": [pattern_config(pattern) for pattern in own],
            "shared_experts": shared_experts and [pattern_config(pattern) for pattern in shared],
            "gate": checked_gate(gate) and pattern_config(gate),
        }
        self.extractions = [
            CustomizedGateControl(
                num_tasks,
                own[level],
                shared[level],
                gate=gate,
                shared_output=shared_experts is not None and level < levels - 1,
                track_health=track_health,
                task_names=task_names,
                name=f"level_{level}",
                dtype=self.dtype_policy,
            )
            for level in range(levels)
        ]

    def build(self, features_shape: tuple) -> None:
        """Builds the levels."""
        for extraction in self.extractions:
            extraction.build(features_shape)
            features_shape = extraction.compute_output_shape(features_shape)

    def call(self, features: Any, training: bool | None = None) -> tuple:
        """The last level's mixtures."""
        for extraction in self.extractions:
            features = extraction(features, training=training)
        return features

    def output_variables(self) -> list[list]:
        """For each output, the trainable variables that it depends on."""
        found = [[] for _ in range(self.num_tasks + 1)]
        for extraction in self.extractions:
            *tasks, shared = found
            own = extraction.output_variables()
            # A task's mixture reads the task's stream and the shared one, the shared one all.
            found = [[*below, *shared, *here] for below, here in zip(tasks, own, strict=False)]
            passed = own[self.num_tasks :]
            found.append([v for read in (*tasks, shared, *passed) for v in read if passed])
        return found[:-1]

    def compute_output_shape(self, features_shape: tuple) -> tuple:
        """One shape a task."""
        for extraction in self.extractions:
            features_shape = extraction.compute_output_shape(features_shape)
        return features_shape

    def compute_mask(self, features: Any, previous_mask: Any = None) -> tuple:
        """The mask of the features, a task."""
        return (first_mask(previous_mask),) * self.num_tasks

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            **super().get_config(),
            **self.patterns,
            "num_tasks": self.num_tasks,
            "levels": self.levels,
            "track_health": self.track_health,
            "task_names": self.task_names,
        }

    @classmethod
    def from_config(cls, config: dict) -> "ProgressiveLayeredExtraction":
        """The inverse of `get_config`."""
        return cls(**with_layers(config, "task_experts", "shared_experts", "gate"))


def _one_a_level(experts, levels, argument):
    patterns = list(experts) if isinstance(experts, (list, tuple)) else [experts] * levels
    if len(patterns) != levels or None in patterns:
        raise ValueError(
            f"`{argument}` must be one pattern, or one for each of {levels} levels. "
            f"Received: {len(patterns)} of them, {argument}={patterns}"
        )
    return patterns
