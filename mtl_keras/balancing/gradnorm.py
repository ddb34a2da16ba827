"""GradNorm: weighted gradients of one length, longer for tasks that lag behind."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import GramianBalancer
from mtl_keras.balancing.present import number, softmax
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_nonnegative, checked_positive
from mtl_keras.precision import wide


@rule("gradnorm", source="Chen et al., 2018, GradNorm, arXiv:1711.02257")
class GradNorm(GramianBalancer):
    """Weights w, with sum K, that descend on sum_k | w_k |g_k| - m r_k^alpha |.

    m is the mean of w_k |g_k|, r_k = (L_k / L_k(1)) / their mean says how far task k lags
    behind; both are constants in the derivative (equations 1 and 2 of the paper). A call
    returns the weights as they were and then moves them, as Algorithm 1 does.

    The paper steps w itself, in units of the gradients: weights turn negative for long ones, and
    swing for unequal ones. Here the logarithms of w take the step, on the objective over m:
    w_k <- w_k exp(-step w_k |g_k| sign(w_k |g_k| - m r_k^alpha) / m), made to sum to K again.
    The points at rest are the same, at every scale. L_k(1) is a task's first loss, as in the
    paper; one peer takes the mean of the first epoch, during which it has weights of 1.

    A loss that is not positive has no rate: its task counts as no further and no less far than
    at the start (L_k / L_k(1) = 1). A zero row takes no part, its weight waits, and the others'
    sum to their number; K = 1 has weight 1.

    Args:
        alpha: pull towards a common rate, at least 0. 1.5.
        step: size of a step of the weights' logarithms. 0.025, the paper's for weights.

    Raises:
        ValueError: for values outside of that.

    Example:

    >>> import numpy as np
    >>> balancer = GradNorm()
    >>> gramian = np.diag([4.0, 1.0])
    >>> for _ in range(99):
    ...     weights = balancer.weights(gramian, losses=[1.0, 1.0])
    >>> np.round(weights, 1).tolist()
    [0.7, 1.3]
    """

    needs = ("losses",)

    def __init__(self, alpha: float = 1.5, step: float = 0.025):
        super().__init__()
        self.alpha = checked_nonnegative(alpha, "alpha")
        self.step = checked_positive(step, "step")

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """Logarithms of the weights, up to a constant; first losses, 0 while there is none."""
        self.logits = self.add_variable("logits", (num_tasks,), dtype=dtype)
        self.first = self.add_variable("first", (num_tasks,), dtype=dtype)

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """The weights, and a step of them."""
        kept, norms = (
            wide(ops.convert_to_tensor(self.logits)),
            ops.sqrt(wide(ops.diagonal(gramian))),
        )
        zero, many = ops.zeros_like(kept), number(present, kept.dtype)
        weights = many * softmax(kept, present)
        sizes = ops.where(present, weights * norms, zero)
        mean = ops.sum(sizes) / many
        sizes = sizes / ops.where(mean > 0, mean, ops.ones_like(mean))
        wrong = sizes - self._rates(wide(losses), present) ** self.alpha
        logits = kept - self.step * sizes * ops.sign(wrong)
        # Those present keep the sum that they had, among all.
        moved = ops.sum(weights * ops.exp(logits - kept)) / many
        logits = logits - ops.log(ops.where(moved > 0, moved, ops.ones_like(moved)))
        self.logits.assign(ops.cast(ops.where(present, logits, kept), self.logits.dtype))
        return weights

    def _rates(self, losses, present):
        """r, 0 for the tasks that take no part; notes first losses."""
        first = wide(ops.convert_to_tensor(self.first))
        first = ops.where(present & (first == 0) & (losses > 0), losses, first)
        self.first.assign(ops.cast(first, self.first.dtype))
        one = ops.ones_like(losses)
        known = (losses > 0) & (first > 0)
        ratios = ops.where(known, losses / ops.where(known, first, one), one)
        ratios = ops.where(present, ratios, ops.zeros_like(ratios))
        mean = ops.sum(ratios) / number(present, ratios.dtype)
        return ratios / ops.where(mean > 0, mean, ops.ones_like(mean))

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"alpha": self.alpha, "step": self.step}
