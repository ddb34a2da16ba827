"""Aligned-MTL: gradients whose principal components are equally long."""

from typing import Any

from keras import ops

from mtl_keras.balancing.preferring import PreferringBalancer
from mtl_keras.balancing.present import shares
from mtl_keras.balancing.registry import rule
from mtl_keras.balancing.solvers import epsilon, spectrum, unit_rows
from mtl_keras.checks import checked_choice

SCALES = ("min", "median", "rmse")


@rule("aligned_mtl", source="Senushkin et al., 2023, Independent Component Alignment, 2305.19000")
class AlignedMTL(PreferringBalancer):
    """update = J^T V S^(-1) V^T p s with G = V S^2 V^T: the aligned gradients, weighed by p.

    Alignment is the closest set of gradients to J whose singular values are all equal, to s:
    the smallest one of J ("min", the paper's), the median one, or the root of their mean
    square ("rmse"). Singular values of 0 are left out. p is the preference, 1/K each by
    default; the authors' code takes p = 1, which is K times as long.

    The update is not continuous where the rank changes: a singular value is 0 when rounding
    cannot tell it from that. On a backend with float64 that means a gradient less than 1e-6 as
    long as another; in float32 one less than 1e-3 as long takes no part. The median of an even
    number is the lower of the two, as in the code. Equal rows give their mean, opposite rows a
    zero update. K = 1 returns the gradient.

    Args:
        scale: "min", "median" or "rmse".
        preference: one number of at least 0 a task, made to sum to 1; None: equal.

    Raises:
        ValueError: for another `scale`, or a `preference` that is negative, all 0, or of
            another length than the losses.

    Example:

    >>> gramian = [[4.0, 0.0], [0.0, 1.0]]
    >>> [round(float(w), 3) for w in AlignedMTL().weights(gramian)]
    [0.25, 0.5]
    """

    def __init__(self, scale: str = "min", preference: list[float] | None = None):
        super().__init__(preference)
        self.scale = checked_choice(scale, "scale", SCALES)

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """Eigenvalues of the Gramian are squares of singular values."""
        squares, vectors = self._components(gramian, present)
        kept = squares > gramian.shape[0] * epsilon(squares) * squares[-1]
        rank = ops.sum(ops.cast(kept, "int32"))
        infinite = ops.full_like(squares, float("inf"))
        # Ascending: those kept come last.
        if self.scale == "rmse":
            square = ops.sum(ops.where(kept, squares, 0.0)) / ops.cast(
                ops.where(rank > 0, rank, 1), squares.dtype
            )
        else:
            place = (rank - 1) // 2 if self.scale == "median" else 0
            order = ops.arange(gramian.shape[0]) - (gramian.shape[0] - rank)
            square = ops.min(ops.where(kept & (order >= place), squares, infinite))
        lengths = ops.where(kept, (square / ops.where(kept, squares, 1.0)) ** 0.5, 0.0)
        preference = shares(self.preference, present, squares.dtype)
        return ((preference[None] @ vectors) * lengths @ ops.transpose(vectors))[0]

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"scale": self.scale, **super().get_config()}

    def _components(self, gramian, present):
        # Rounding of the Gramian is taken out of the cosines, where no length hides it.
        cosines, norms = unit_rows(gramian, present)
        values, vectors, noise = spectrum(cosines, gramian)
        cosines = (vectors * ops.where(values > noise, values, 0.0)) @ ops.transpose(vectors)
        norms = ops.where(present, norms / ops.max(ops.where(present, norms, 0.0)), 0.0)
        return ops.eigh(norms[:, None] * cosines * norms[None, :])
