"""SDMGrad: MGDA's weights, held near a direction of choice."""

from typing import Any

import keras
from keras import ops

from mtl_keras.balancing import present as tasks
from mtl_keras.balancing import simplex
from mtl_keras.balancing.base import GramianBalancer
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import (
    checked_count,
    checked_length,
    checked_nonnegative,
    checked_positive,
    checked_rate,
    checked_weights,
)


@rule("sdmgrad", source="Xiao et al., 2023, Direction-oriented Multi-objective Learning")
class SDMGrad(GramianBalancer):
    """(w + l p) / (1 + l), where w descends on |J^T (w + l p)|^2 over the simplex and p is the
    preference: l = 0 is MGDA, a large l is the preferred sum.

    A call takes `iterations` steps of projected gradient descent with momentum from the last
    call's w (1 / K at first): v <- momentum v + A (w + l p), w <- P(w - step v / s). A = J1 J2^T
    is the product of gradients of independent batches, which makes the steps unbiased: the rule
    asks for two half batches (`samples`), whose product is not symmetric. It takes an ordinary
    Gramian too. s is the largest sum of absolute values of a row of A: steps of 1 / s cannot
    overshoot, whatever the scale and number of gradients. The authors' code divides by the
    squared mean of the gradients' norms and steps by 5 or 10, which jumps from task to task
    when there are more than a few; its number of steps and momentum are kept.

    The code draws a third batch for the update; here J is that of the whole batch. A zero row
    takes no part: the others' w and p sum to 1. K = 1 has weight 1.

    Args:
        regularization: l, at least 0. 0.3, as in the authors' experiments (0.6 in the class).
        preference: p, one number a task, made to sum to 1. None: equal.
        iterations: steps a call. 20.
        step: size of a step, in units of 1 / s. 1.
        momentum: from 0 to below 1. 0.5.

    Raises:
        ValueError: for values outside of that, or a preference of another length than the tasks.

    Example:

    >>> import numpy as np
    >>> gramian = np.diag([4.0, 1.0])
    >>> np.round(SDMGrad(regularization=0.0).weights(gramian), 2).tolist()
    [0.2, 0.8]
    """

    samples = 2

    def __init__(
        self,
        regularization: float = 0.3,
        preference: list[float] | None = None,
        iterations: int = 20,
        step: float = 1.0,
        momentum: float = 0.5,
    ):
        super().__init__()
        self.regularization = checked_nonnegative(regularization, "regularization")
        self.preference = checked_weights(preference, "preference")
        self.iterations = checked_count(iterations, "iterations")
        self.step = checked_positive(step, "step")
        self.momentum = checked_rate(momentum, "momentum")

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """Weights."""
        checked_length(self.preference, "preference", num_tasks)
        equal = keras.initializers.Constant(1 / num_tasks)
        self.shares = self.add_variable("shares", (num_tasks,), equal, dtype=dtype)

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """Steps of w, then the mixture with the preference."""
        bound = ops.max(ops.sum(ops.abs(gramian), axis=1))
        products = gramian / ops.where(bound > 0, bound, ops.ones_like(bound))
        kept = ops.cast(ops.convert_to_tensor(self.shares), gramian.dtype)
        pull = self.regularization * tasks.shares(self.preference, present, gramian.dtype)

        def step(_, state):
            weights, velocity = state
            slope = (products @ (weights + pull)[:, None])[:, 0]
            velocity = self.momentum * velocity + slope
            return simplex.project(weights - self.step * velocity, present), velocity

        start = simplex.among(kept, present), ops.zeros_like(kept)
        weights, _ = ops.fori_loop(0, self.iterations, step, start)
        self.shares.assign(simplex.merge(weights, present, kept))
        return (weights + pull) / (1 + self.regularization)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            "regularization": self.regularization,
            "preference": self.preference,
            "iterations": self.iterations,
            "step": self.step,
            "momentum": self.momentum,
        }
