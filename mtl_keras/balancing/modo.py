"""MoDo: weights of least norm, found along products of two batches."""

from typing import Any

import keras
from keras import ops

from mtl_keras.balancing import simplex
from mtl_keras.balancing.base import GramianBalancer
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_nonnegative, checked_positive


@rule("modo", source="Chen et al., 2023, Three-Way Trade-Off in Multi-Objective Learning")
class MoDo(GramianBalancer):
    """w <- P(w - gamma (J1 J2^T + rho I) w), from 1 / K; P is the nearest point of the simplex.

    J1 and J2 are gradients of independent batches, so that the step is unbiased: the rule asks
    for the product of two half batches (`samples`), which is not symmetric. It takes an
    ordinary Gramian too, and then follows MGDA's objective with the bias of one batch.

    The authors' code updates the model with both batches or a third; here J is that of the whole
    batch. The step of w grows with the SQUARE of the gradients' scale: divide gamma by that of
    yours. A zero row takes no part and the others' weights sum to 1; K = 1 has weight 1.

    Args:
        gamma: step of the weights, above 0. 0.1, as in the authors' code.
        rho: what is added to the diagonal, at least 0. 0.1.

    Raises:
        ValueError: for values outside of that.

    Example:

    >>> import numpy as np
    >>> np.round(MoDo(rho=0.0).weights(np.diag([4.0, 1.0])), 4).tolist()
    [0.425, 0.575]
    """

    samples = 2

    def __init__(self, gamma: float = 0.1, rho: float = 0.1):
        super().__init__()
        self.gamma = checked_positive(gamma, "gamma")
        self.rho = checked_nonnegative(rho, "rho")

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """Weights."""
        equal = keras.initializers.Constant(1 / num_tasks)
        self.shares = self.add_variable("shares", (num_tasks,), equal, dtype=dtype)

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """One projected step."""
        kept = ops.cast(ops.convert_to_tensor(self.shares), gramian.dtype)
        weights = simplex.among(kept, present)
        slope = (gramian @ weights[:, None])[:, 0] + self.rho * weights
        weights = simplex.project(weights - self.gamma * slope, present)
        self.shares.assign(simplex.merge(weights, present, kept))
        return weights

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"gamma": self.gamma, "rho": self.rho}
