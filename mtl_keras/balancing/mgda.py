"""MGDA: the shortest convex combination of the gradients."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import GramianBalancer
from mtl_keras.balancing.registry import rule
from mtl_keras.balancing.solvers import definite, nonnegative_minimum, unit_rows


@rule("mgda", source="Désidéri, 2012, MGDA; Sener and Koltun, 2018, arXiv 1810.04650")
class MGDA(GramianBalancer):
    """update = J^T w, w = argmin of w'Gw over w >= 0 with sum w = 1.

    The update decreases every loss equally fast where its weight is above 0 and faster
    elsewhere; it is 0 exactly at Pareto-stationary points. A short gradient rules: multiply
    one by 1000 and its weight all but vanishes.

    Sener and Koltun's code runs at most 250 rounds of Frank-Wolfe and stops early, after
    normalising gradients in one of four ways; the paper's problem is solved here, exactly, on
    the gradients as they are. Where several w are shortest, one of them is returned: equal
    rows share their weight. K = 1 returns the gradient.

    Example:

    >>> gramian = [[18.0, -22.0], [-22.0, 38.0]]  # gradients (-4, 1, 1) and (6, 1, 1)
    >>> [round(float(w), 4) for w in MGDA().weights(gramian)]
    [0.6, 0.4]
    """

    matrix_free = True

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """min s'Gs/2 - sum s over s >= 0, made to sum to 1; in units of the gradients."""
        cosines, norms = unit_rows(gramian, present)
        shortest = ops.min(ops.where(present, norms, float("inf")))
        gains = ops.where(present, shortest / norms, ops.zeros_like(norms))
        solution = nonnegative_minimum(definite(cosines, gramian), -gains[None])[0] * gains
        total = ops.sum(solution)
        return solution / ops.where(total > 0, total, ops.ones_like(total))
