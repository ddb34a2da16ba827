"""IMTL-G: an update with equal projections on all gradients."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import GramianBalancer
from mtl_keras.balancing.present import shares
from mtl_keras.balancing.registry import rule
from mtl_keras.balancing.solvers import spectrum, unit_rows


@rule("imtl_g", source="Liu et al., 2021, Towards Impartial Multi-Task Learning")
class IMTLG(GramianBalancer):
    """update = J^T w with sum w = 1 and the same projection on every unit gradient u_k.

    w is G^(-1) |g|, made to sum to 1. Weights may be negative, and where their sum before that
    is, the update harms every task: the rule promises impartiality, not progress.

    The paper's form takes differences to the first task and inverts a matrix that is singular
    for parallel gradients. Here dependent rows get the projections nearest to equal ones
    (pseudo-inverse): parallel gradients share the weight, as 1 / |g_k|. Where no weights bring
    the projections off 0 (opposite rows) or w sums to 0, the mean of the gradients is returned.
    K = 1 returns the gradient.

    Example:

    >>> gramian = [[18.0, -22.0], [-22.0, 38.0]]  # gradients (-4, 1, 1) and (6, 1, 1)
    >>> [round(float(w), 4) for w in IMTLG().weights(gramian)]
    [0.5923, 0.4077]
    """

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """The pseudo-inverse of the cosines, in units of the gradients."""
        cosines, norms = unit_rows(gramian, present)
        values, vectors, noise = spectrum(cosines, gramian)
        inverses = ops.where(values > noise, 1 / ops.where(values > noise, values, 1.0), 0.0)
        ones = ops.cast(present, norms.dtype)
        equal = ((ones[None] @ vectors) * inverses @ ops.transpose(vectors))[0]
        shortest = ops.min(ops.where(present, norms, float("inf")))
        weights = ops.where(present, equal * shortest / norms, 0.0)
        total, size = ops.sum(weights), ops.sum(ops.abs(weights))
        # What rounding leaves of projections and sums of 0.
        sound = (ops.sum(ops.abs(equal)) > noise) & (ops.abs(total) > noise * size)
        mean = shares(None, present, norms.dtype)
        return ops.where(sound, weights / ops.where(sound, total, 1.0), mean)
