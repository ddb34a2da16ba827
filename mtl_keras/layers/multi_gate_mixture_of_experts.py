"""MultiGateMixtureOfExperts: one bank of experts, a gate a task."""

from collections.abc import Sequence
from typing import Any

import keras

from mtl_keras.checks import checked_count
from mtl_keras.layers.experts import Experts
from mtl_keras.layers.gate import Gate
from mtl_keras.layers.mixture import Mixture, first_mask, names_of


@keras.saving.register_keras_serializable(package="mtl_keras")
class MultiGateMixtureOfExperts(Mixture):
    """y_k = sum_e g_k(x)_e f_e(x): shared experts, weighed by each task for itself (MMoE).

    Tasks that agree come to use the same experts, tasks that do not part ways. One-hot gates
    make it K separate networks, equal gates `MixtureOfExperts`. `CustomizedGateControl` keeps
    experts that other tasks cannot use.

    Args:
        num_tasks: K.
        experts: an `Experts` layer, as a pattern.
        gate: pattern of the K gates; default `SoftmaxGate()`.
        track_health: whether `ExpertHealth` reports, in training, under log keys that begin
            with the layer's path. Default `False`.
        task_names: of the K tasks, after which the gates are named; default their numbers.

    Call arguments:
        features: (batch, ..., channels).
        context: what the gates read instead of the features: (batch, ..., width), or
            (batch, width) to weigh all positions of a row alike.

    Output shape:
        a tuple of K, (batch, ..., units) each

    Raises:
        ValueError: for a bad count, a built bank, a gate over another number of experts, and
            gates that are not finite.

    Example:

    >>> experts = mtl_keras.layers.Experts(4, 8)
    >>> layer = mtl_keras.layers.MultiGateMixtureOfExperts(2, experts)
    >>> [y.shape for y in layer(np.ones((2, 5)))]
    [TensorShape([2, 8]), TensorShape([2, 8])]

    Reference:
        Ma et al., 2018, Modeling Task Relationships in Multi-task Learning with Multi-gate
        Mixture-of-Experts, equations 5 and 6.
    """

    def __init__(
        self,
        num_tasks: int,
        experts: Experts,
        gate: Gate | None = None,
        track_health: bool = False,
        task_names: Sequence[str] | None = None,
        **kwargs: Any,
    ):
        self.num_tasks = checked_count(num_tasks, "num_tasks")
        names = [f"gate_{name}" for name in names_of(task_names, num_tasks)]
        self.task_names = task_names and list(task_names)
        super().__init__(experts, gate, names, track_health, **kwargs)

    def call(self, features: Any, context: Any = None, training: bool | None = None) -> tuple:
        """The mixture of each task."""
        gates = self.weights_of(features, context, training)
        return self.mixed(features, gates, training)

    def compute_output_shape(
        self, features_shape: tuple, context_shape: tuple | None = None
    ) -> tuple:
        """Features with the experts' units, a task."""
        return (self.mixture_shape(features_shape),) * self.num_tasks

    def compute_mask(self, features: Any, previous_mask: Any = None) -> tuple:
        """The mask of the features, a task."""
        return (first_mask(previous_mask),) * self.num_tasks

    def get_config(self) -> dict:
        """Constructor arguments."""
        own = {"num_tasks": self.num_tasks, "task_names": self.task_names}
        return {**super().get_config(), **own}
