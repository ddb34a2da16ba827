"""TraceNormSharing: the towers' weights, stacked, have low rank."""

from typing import Any

import keras
import numpy as np
from keras import ops

from mtl_keras.checks import checked_choice, checked_count
from mtl_keras.sharing.base import Sharing, strength_at
from mtl_keras.sharing.spectral import (
    KINDS,
    RANK_TOLERANCE,
    nuclear_norm,
    polar,
    shrunk,
    singular_values,
    unfoldings,
)
from mtl_keras.sharing.towers import corresponding_weights


@keras.saving.register_keras_serializable(package="mtl_keras")
class TraceNormSharing(Sharing):
    """strength * nuclear norm of the weights of K towers, stacked on a new last axis.

    The nuclear norm is the sum of the singular values, the convex stand-in for the rank: a low
    rank means that a few common factors explain all tasks' weights, and nobody has to say which
    layers to share. With X the stacked weights,

    - "last_axis": |unfold(X, K)|: a task is a combination of a few common weight tensors.
    - "tucker": sum_k |unfold(X, k)| over all axes.
    - "tensor_train": sum_j |reshape(X, first j axes x the rest)|.

    The gradient is U V^T of each unfolding, exact also for equal singular values, where the
    derivative of a decomposition is not defined. A subgradient never reaches a low rank; with
    `proximal=True` each unfolding in turn has its singular values lowered after an update, by
    which those under the threshold become 0. For one unfolding this is the proximal step; for
    several an incremental one (Bertsekas 2011), in which no step raises the rank of another.

    "last_axis" costs little, whatever the width: K singular values. The others decompose
    matrices as wide as the layer: `benchmarks/soft_sharing.py` prints what that costs, and
    `every` spreads it.

    Args:
        strength: see `Sharing`.
        kind: "last_axis", "tucker" or "tensor_train".
        every: the subgradient is computed on every n-th step and used again between, which
            keeps a copy of the weights; a proximal step is taken on every n-th step, n times
            as large. Default 1.
        options: further arguments of `Sharing`.

    Raises:
        ValueError: for another `kind`, a bad `every`, and as `Sharing`.

    Example:

    >>> same = np.array([[3.0], [4.0]]), np.array([[3.0], [4.0]])
    >>> round(float(sharing.TraceNormSharing().penalty(same)) ** 2, 4)
    50.0

    Reference:
        Yang, Hospedales, 2017, Trace Norm Regularised Deep Multi-Task Learning; Cai, Candes,
        Shen, 2010, A Singular Value Thresholding Algorithm for Matrix Completion.
    """

    has_proximal_step = True

    def __init__(
        self, strength: Any = 1e-3, *, kind: str = "last_axis", every: int = 1, **options: Any
    ):
        super().__init__(strength, **options)
        self.kind = checked_choice(kind, "kind", KINDS)
        self.every = checked_count(every, "every")

    def penalty(self, weights: tuple) -> Any:
        """The sum of the nuclear norms."""
        return self._along(self.subgradient(weights), weights)

    def value(self, weights: tuple, factor: float, step: Any, subgradient: Any = None) -> Any:
        """What K tensors add to the loss; with an older subgradient a lower bound of it."""
        if self.proximal:
            # Without the subgradient, which nobody asks for.
            found = self._norms(weights)
        elif subgradient is None:
            found = self.penalty(weights)
        else:
            found = self._along(subgradient, weights)
        return factor * strength_at(self.strength, step) * found

    def _norms(self, weights):
        stacked = ops.stop_gradient(_stacked(weights))
        pairs = unfoldings(self.kind, tuple(stacked.shape))
        return sum(nuclear_norm(to_matrix(stacked)) for to_matrix, _ in pairs)

    def _along(self, subgradient, weights):
        # <U V^T, X> is the nuclear norm, and U V^T its derivative.
        return ops.sum(ops.stop_gradient(subgradient) * _stacked(weights))

    def subgradient(self, weights: tuple) -> Any:
        """The sum of U V^T over the unfoldings, (K, ...)."""
        # Nobody differentiates a decomposition.
        stacked = ops.stop_gradient(_stacked(weights))
        pairs = unfoldings(self.kind, tuple(stacked.shape))
        return sum(to_tensor(polar(to_matrix(stacked))) for to_matrix, to_tensor in pairs)

    def proximal_step(self, weights: tuple, amount: Any) -> tuple:
        """Lower singular values, of one unfolding after the other."""
        stacked = _stacked(weights)
        for to_matrix, to_tensor in unfoldings(self.kind, tuple(stacked.shape)):
            stacked = to_tensor(shrunk(to_matrix(stacked), amount))
        return tuple(ops.unstack(stacked, len(weights)))

    def ranks(self, model: Any, tolerance: float = RANK_TOLERANCE) -> dict[str, tuple[int, ...]]:
        """At each path, the rank of each unfolding of the model's weights as they are now.

        Args:
            model: the model.
            tolerance: singular values above this part of the largest count.
        """
        return self._of_spectra(model, lambda s: int((s > tolerance * s[0]).sum()))

    def effective_ranks(self, model: Any) -> dict[str, tuple[float, ...]]:
        """At each path, the effective rank of each unfolding: exp(entropy of s / sum s).

        From 1, when one singular value s is all there is, to the full rank, when all are equal
        (Roy, Vetterli, 2007, The Effective Rank). 0 where all weights are 0.
        """
        return self._of_spectra(model, _effective_rank)

    def _of_spectra(self, model, measure):
        found = {}
        for path, variables in corresponding_weights(model, self.towers).items():
            if self.factor(path):
                stacked = np.stack([ops.convert_to_numpy(v) for v in variables])
                pairs = unfoldings(self.kind, stacked.shape)
                matrices = [ops.convert_to_numpy(to_matrix(stacked)) for to_matrix, _ in pairs]
                found[path] = tuple(measure(singular_values(m)) for m in matrices)
        return found

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {**super().get_config(), "kind": self.kind, "every": self.every}


def _stacked(weights):
    # TensorFlow's own stacking does not take its variables.
    return ops.concatenate([ops.expand_dims(w, 0) for w in weights], axis=0)


def _effective_rank(values):
    if not values.any():
        return 0.0
    shares = values[values > 0] / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
