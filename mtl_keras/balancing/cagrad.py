"""CAGrad: near the mean gradient, the update best for the task worst off."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import GramianBalancer
from mtl_keras.balancing.present import shares
from mtl_keras.balancing.registry import rule
from mtl_keras.balancing.solvers import best_worst, definite, unit_rows
from mtl_keras.checks import checked_choice, checked_nonnegative


@rule("cagrad", source="Liu et al., 2021, Conflict-Averse Gradient Descent, arXiv 2110.14048")
class CAGrad(GramianBalancer):
    """update = argmax over |d - g0| <= c |g0| of min_k g_k.d, with g0 the mean gradient.

    Equation 1 of the paper, solved exactly. c = 0 is the mean; the larger c, the closer to
    `MGDA`. With c below 1 the update vanishes where g0 does, and may harm a task.

    Code bases divide the result by different factors: the paper's equation has none, the
    authors' code 1 + c^2 by default, or 1 + c. The paper is followed unless `rescale` says
    otherwise. Where the mean gradient is 0, so is the update. K = 1 returns (1 + c) times the
    gradient.

    With `gramian="matrix_free"` the length of the mean gradient stays a guess, and with it the
    radius: the one product of a step tells of G w at the solution.

    Args:
        c: the radius, in lengths of the mean gradient; at least 0.
        rescale: what the update is divided by: "none": 1, "linear": 1 + c, "square": 1 + c^2.

    Raises:
        ValueError: for another `c` or `rescale`.

    Example:

    >>> gramian = [[18.0, -22.0], [-22.0, 38.0]]  # gradients (-4, 1, 1) and (6, 1, 1)
    >>> [round(float(w), 3) for w in CAGrad().weights(gramian)]
    [0.704, 0.5]
    """

    matrix_free = True

    def __init__(self, c: float = 0.5, rescale: str = "none"):
        super().__init__()
        self.c = checked_nonnegative(c, "c")
        divisors = {"none": 1.0, "linear": 1 + self.c, "square": 1 + self.c**2}
        self.rescale = checked_choice(rescale, "rescale", tuple(divisors))
        self._divisor = divisors[rescale]

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """The deviation from the mean, in lengths of it, then both."""
        cosines, norms = unit_rows(gramian, present)
        cosines = definite(cosines, gramian)
        mean = shares(None, present, norms.dtype)
        projections = ((mean * norms)[None] @ cosines)[0]
        length = ops.sqrt(ops.sum(mean * norms * projections))
        length = ops.where(length > 0, length, ops.ones_like(length))
        rates = ops.where(present, ops.min(ops.where(present, norms, float("inf"))) / norms, 0.0)
        deviation = best_worst(cosines, projections / length, rates, self.c)
        return (mean + length * deviation / norms) / self._divisor

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"c": self.c, "rescale": self.rescale}
