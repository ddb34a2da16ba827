"""Nash-MTL: the tasks bargain for the update."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import GramianBalancer
from mtl_keras.balancing.registry import rule
from mtl_keras.balancing.solvers import definite, fair_root, unit_rows
from mtl_keras.checks import checked_positive


@rule("nash_mtl", source="Navon et al., 2022, Multi-Task Learning as a Bargaining Game, 2202.01017")
class NashMTL(GramianBalancer):
    """update = J^T a with a > 0 and G a = 1 / a, entry by entry.

    No gradient's length matters, only directions; every task's loss falls, and the update has
    length sqrt(K). Two tasks: the sum of the unit gradients. The authors solve a sequence of
    convex approximations on the host, 20 at most; here the equation is a minimum of
    a'Ga / 2 - sum log a and is solved to the last digits. Their code also clips the update to
    length 1, which `max_norm=1.0` does.

    Dependent rows have a solution as long as no combination of them with weights of at least 0
    vanishes. Otherwise (opposite rows; any Pareto-stationary point) there is none: weights
    come back that are as large as the Gramian's rounding tells from infinite, whose update is
    0 up to that rounding. K = 1 returns the unit gradient.

    Args:
        max_norm: what the update's length is cut to; None: not at all, as in the paper.

    Raises:
        ValueError: when `max_norm` is not above 0.

    Example:

    >>> gramian = [[4.0, 0.0], [0.0, 0.25]]
    >>> [round(float(w), 3) for w in NashMTL().weights(gramian)]
    [0.5, 2.0]
    """

    matrix_free = True

    def __init__(self, max_norm: float | None = None):
        super().__init__()
        self.max_norm = None if max_norm is None else checked_positive(max_norm, "max_norm")

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """The root for unit rows, divided by the norms."""
        cosines, norms = unit_rows(gramian, present)
        root = fair_root(definite(cosines, gramian), ops.ones_like(norms), 1.0)
        if self.max_norm is not None:
            # Of a'Ga = sum a (1 / a): an absent task adds nothing.
            length = ops.sqrt(ops.sum(ops.cast(present, norms.dtype)))
            root = ops.where(length > self.max_norm, self.max_norm / length, 1.0) * root
        return root / norms

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"max_norm": self.max_norm}
