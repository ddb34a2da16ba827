"""ExcessMTL: weight goes to the tasks that are far from their own optimum."""

from typing import Any

from keras import ops

from mtl_keras.balancing import rows
from mtl_keras.balancing.base import JacobianBalancer
from mtl_keras.balancing.present import number, softmax
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_positive

# Beyond this multiple of a task's first risk, more makes no difference.
LARGEST = 1e30


@rule("excess_mtl", source="He et al., 2024, Robust Multi-Task Learning with Excess Risks")
class ExcessMTL(JacobianBalancer):
    """w_k <- w_k exp(eta e_k / e_k(1)) / sum_j ...; d = sum_k w_k g_k.

    e_k = sum_p g_kp^2 / sqrt(S_kp) estimates what task k still has to gain: a second-order
    expansion whose diagonal of curvatures comes from S = the sum of all squared gradients so
    far, as in Adagrad. A noisy task, whose loss stays large, has no such gain and loses weight.

    Risks are relative to the first one of their task. The official code leaves the weights
    alone in the first call, one peer steps with the raw risks there, which makes them one-hot
    for good; here the first ratio is 1 for all, which moves nothing. Weights sum to 1, as in
    the paper; the official code lets them sum to K. It adds 1e-7 to S, which would drown
    gradients below 3e-4; here nothing is added, and where S is 0, so is the entry.

    A zero row takes no part and keeps its place relative to the mean of the others. K = 1
    returns the gradient.

    Memory: one more (K, P) array.

    Args:
        step: eta, above 0. 0.01, as in the official code.

    Raises:
        ValueError: for a step that is not above 0.

    Example:

    >>> import numpy as np
    >>> balancer = ExcessMTL()
    >>> np.asarray(balancer.direction(np.array([[2.0, 0.0], [0.0, 1.0]]))).tolist()
    [1.0, 0.5]
    """

    keeps_rows = True

    def __init__(self, step: float = 0.01):
        super().__init__()
        self.step = checked_positive(step, "step")

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """sqrt(S), first risks, logarithms of weights."""
        self.roots = self.add_variable("roots", (num_tasks, self.size), dtype=dtype)
        self.first = self.add_variable("first", (num_tasks,), dtype=dtype)
        self.logits = self.add_variable("logits", (num_tasks,), dtype=dtype)

    def aggregate(self, jacobian: Any, present: Any, losses: Any) -> Any:
        """Risks, then one exponentiated step."""
        risks = self._risks(ops.abs(jacobian))
        first = ops.cast(ops.convert_to_tensor(self.first), jacobian.dtype)
        first = ops.where(present & (first == 0), risks, first)
        zero = ops.zeros_like(first)
        ratios = ops.where(present, risks / ops.where(first > 0, first, zero + 1), zero)
        ratios = ops.where(ratios < LARGEST, ratios, zero + LARGEST)
        mean = ops.sum(ratios) / number(present, ratios.dtype)
        logits = ops.cast(ops.convert_to_tensor(self.logits), jacobian.dtype)
        logits = ops.where(present, logits + self.step * (ratios - mean), logits)
        self.first.assign(first)
        self.logits.assign(logits)
        return rows.mix(softmax(logits, present), jacobian)

    def _risks(self, sizes):
        """Grows sqrt(S) to the hypotenuse of itself and |g|: no square overflows or vanishes."""
        roots = ops.cast(ops.convert_to_tensor(self.roots), sizes.dtype)
        large = ops.where(sizes > roots, sizes, roots)
        safe = ops.where(large > 0, large, ops.ones_like(large))
        roots = large * ops.sqrt(1 + (ops.where(sizes > roots, roots, sizes) / safe) ** 2)
        self.roots.assign(roots)
        safe = ops.where(roots > 0, roots, ops.ones_like(roots))
        return ops.sum(sizes * (sizes / safe), axis=1)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"step": self.step}
