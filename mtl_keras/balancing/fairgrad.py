"""FairGrad: alpha-fair shares of the update."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import GramianBalancer
from mtl_keras.balancing.registry import rule
from mtl_keras.balancing.solvers import definite, fair_root, unit_rows
from mtl_keras.checks import checked_positive


@rule("fairgrad", source="Ban and Ji, 2024, Fair Resource Allocation in MTL, arXiv 2402.15638")
class FairGrad(GramianBalancer):
    """update = J^T w with w > 0 and G w = w^(-1/alpha), entry by entry.

    It maximises the alpha-fair utility of the decreases of the losses, J d. Small alpha tends
    to the sum where that harms no task, 1 is `NashMTL`, 2 the paper's choice (least potential
    delay), large alpha tends to `MGDA`. Every task's loss falls. The update grows as the
    gradients to the power (alpha - 1) / (alpha + 1).

    The authors hand the equation to a least-squares solver on the host; here it is a convex
    problem and is solved to the last digits. Where a combination of gradients with weights of
    at least 0 vanishes (any Pareto-stationary point) there is no solution: weights come back
    that are as large as the Gramian's rounding tells from infinite, whose update is small, not
    0; the less so the larger alpha. K = 1: the gradient over its length to the power
    2 alpha / (alpha + 1).

    Args:
        alpha: above 0.

    Raises:
        ValueError: for another `alpha`.

    Example:

    >>> gramian = [[4.0, 0.0], [0.0, 1.0]]
    >>> [round(float(w), 3) for w in FairGrad(alpha=2.0).weights(gramian)]
    [0.397, 1.0]
    """

    matrix_free = True

    def __init__(self, alpha: float = 2.0):
        super().__init__()
        self.alpha = checked_positive(alpha, "alpha")

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """The root for unit rows; norms, of which 1 is the longest, enter as ratios."""
        cosines, norms = unit_rows(gramian, present)
        longest = ops.max(ops.where(present, norms, 0.0))
        longest = ops.where(longest > 0, longest, ops.ones_like(longest))
        norms = ops.where(present, norms / longest, ops.ones_like(norms))
        scales = norms ** ((1 - self.alpha) / (1 + self.alpha))
        root = fair_root(definite(cosines, gramian), scales, self.alpha)
        return root / norms * longest ** (-2 * self.alpha / (self.alpha + 1))

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"alpha": self.alpha}
