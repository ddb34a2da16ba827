"""MixtureOfExperts: one gate over a bank of experts."""

import math
from typing import Any

import keras
from keras import ops

from mtl_keras.layers.checks import checked_finite
from mtl_keras.layers.experts import Experts
from mtl_keras.layers.gate import Gate
from mtl_keras.layers.mixture import Mixture


@keras.saving.register_keras_serializable(package="mtl_keras")
class MixtureOfExperts(Mixture):
    """y = sum_e g(x)_e f_e(x): experts and gate shared by all tasks.

    What differs from task to task must then come from the heads; `MultiGateMixtureOfExperts`
    has a gate a task. With a `TopKGate` that has a capacity, experts that were not chosen are
    not computed where that is faster (`benchmarks/experts.py`): the result is the same.

    Args:
        experts: an `Experts` layer, as a pattern.
        gate: `SoftmaxGate`, `TopKGate`, `DSelectKGate`, as a pattern; default `SoftmaxGate()`.
        track_health: whether `ExpertHealth` reports, in training, under log keys that begin
            with the layer's path; computes all experts. Default `False`.

    Call arguments:
        features: (batch, ..., channels).
        context: what the gate reads instead of the features: (batch, ..., width), or
            (batch, width) to weigh all positions of a row alike.

    Output shape:
        (batch, ..., units)

    Raises:
        ValueError: for a built bank, a gate over another number of experts, and gates that are
            not finite.

    Example:

    >>> experts = mtl_keras.layers.Experts(4, 8)
    >>> layer = mtl_keras.layers.MixtureOfExperts(experts, mtl_keras.layers.TopKGate(k=1))
    >>> layer(np.ones((2, 5))).shape
    TensorShape([2, 8])

    Reference:
        Jacobs et al., 1991; Eigen et al., 2013; Ma et al., 2018, equation 4 (OMoE).
    """

    def __init__(
        self,
        experts: Experts,
        gate: Gate | None = None,
        track_health: bool = False,
        **kwargs: Any,
    ):
        super().__init__(experts, gate, ["gate"], track_health, **kwargs)

    def call(self, features: Any, context: Any = None, training: bool | None = None) -> Any:
        """The mixture."""
        gates = self.weights_of(features, context, training)
        capacity = self._skip_capacity(features, gates[0], training)
        if capacity is None:
            return self.mixed(features, gates, training)[0]
        weights = checked_finite(ops.reshape(gates[0], (-1, self.experts.num_experts)), "gates")
        rows = ops.reshape(features, (-1, features.shape[-1]))
        mixed = self.experts.dispatched(rows, weights, self.gates[0].k, capacity, training)
        return ops.reshape(mixed, (*ops.shape(features)[:-1], mixed.shape[-1]))

    def _skip_capacity(self, features, gates, training):
        """Rows an expert, when those that were not chosen are to be skipped; else `None`."""
        num_rows = math.prod(ops.shape(features)[:-1])
        capacity = self.gates[0].capacity(num_rows, training)
        if capacity is None or self.health is not None or not self.experts.dispatchable:
            return None
        if keras.backend.backend() == "jax" and not isinstance(capacity, int):
            # JAX makes no shapes of a batch whose size is open.
            return None
        # A gate for all positions of a row would have to be repeated.
        same_rows = len(gates.shape) == len(features.shape)
        return capacity if same_rows and pays(self.gates[0], self.experts) else None

    def compute_output_shape(
        self, features_shape: tuple, context_shape: tuple | None = None
    ) -> tuple:
        """Features with the experts' units."""
        return self.mixture_shape(features_shape)


def pays(gate: Gate, experts: Experts) -> bool:
    """Whether computing the chosen experts alone is faster than computing them all.

    Measured by `benchmarks/experts.py`: with one in eight chosen always, with one in four when
    the experts are wide enough to outweigh the moving of rows.
    """
    chosen = gate.k / experts.num_experts
    return chosen <= 1 / 8 or (chosen <= 1 / 4 and experts.units[0] >= 128)
