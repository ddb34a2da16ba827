"""MoCo: weights of least norm, found along tracked gradients."""

from typing import Any

import keras
from keras import ops

from mtl_keras.balancing import rows, simplex
from mtl_keras.balancing.base import JacobianBalancer
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_between, checked_nonnegative, checked_positive


@rule("moco", source="Fernando et al., 2023, Mitigating Gradient Bias, arXiv:2210.12624")
class MoCo(JacobianBalancer):
    """y_k <- y_k - beta (y_k - g_k); w <- P(w - gamma (Y Y^T + rho I) w); d = Y^T w.

    P is the nearest point of the simplex. Averages y remove the bias that MGDA's weights have
    from the noise of a batch; w goes one step a call towards the point of least norm. Both
    start as in the authors' code, y at 0 and w at 1 / K.

    Authors' code and paper project onto the simplex, as here; a peer takes a softmax instead,
    and gradients of unit length times the loss. The paper also keeps y in a ball, and lets beta
    and gamma fall; neither the code nor this rule does. The step of w grows with the SQUARE of
    the gradients' scale: divide gamma by that of yours.

    A zero row takes no part: its y waits and the others' weights sum to 1. K = 1 returns y.

    Memory: one more (K, P) array.

    Args:
        beta: step of the averages, above 0 and up to 1. 0.1.
        gamma: step of the weights. 0.1.
        rho: what is added to the diagonal of Y Y^T, at least 0. 0.1.

    Raises:
        ValueError: for values outside of that.

    Example:

    >>> import numpy as np
    >>> balancer = MoCo(beta=1.0, rho=0.0)
    >>> np.round(balancer.direction(np.array([[2.0, 0.0], [0.0, 1.0]])), 4).tolist()
    [0.85, 0.575]
    """

    keeps_rows = True

    def __init__(self, beta: float = 0.1, gamma: float = 0.1, rho: float = 0.1):
        super().__init__()
        self.beta = checked_between(checked_positive(beta, "beta"), "beta", 0, 1)
        self.gamma = checked_positive(gamma, "gamma")
        self.rho = checked_nonnegative(rho, "rho")

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """Tracked gradients, one row a task, and weights."""
        self.tracked = self.add_variable("tracked", (num_tasks, self.size), dtype=dtype)
        equal = keras.initializers.Constant(1 / num_tasks)
        self.shares = self.add_variable("shares", (num_tasks,), equal, dtype=dtype)

    def aggregate(self, jacobian: Any, present: Any, losses: Any) -> Any:
        """A step of the averages, a step of the weights."""
        tracked = ops.cast(ops.convert_to_tensor(self.tracked), jacobian.dtype)
        moved = tracked - self.beta * (tracked - jacobian)
        tracked = ops.where(present[:, None], moved, tracked)
        kept = ops.cast(ops.convert_to_tensor(self.shares), jacobian.dtype)
        weights = simplex.among(kept, present)
        slope = (tracked @ rows.mix(weights, tracked)[:, None])[:, 0] + self.rho * weights
        weights = simplex.project(weights - self.gamma * slope, present)
        self.tracked.assign(tracked)
        self.shares.assign(simplex.merge(weights, present, kept))
        return rows.mix(weights, tracked)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"beta": self.beta, "gamma": self.gamma, "rho": self.rho}
