"""CR-MOGM: the moving average of another rule's weights."""

from typing import Any

import keras
from keras import ops

from mtl_keras.balancing.base import GramianBalancer
from mtl_keras.balancing.registry import get, rule
from mtl_keras.checks import checked_rate


@rule("cr_mogm", source="Zhou et al., 2022, On the Convergence of Stochastic Multi-Objective")
class CRMOGM(GramianBalancer):
    """w <- alpha w + (1 - alpha) v, where v are the weights that another rule finds.

    Weights that follow the noise of each batch need not converge; averaged ones do. The first
    call returns v. The paper lets alpha tend to 1 as the learning rate falls; here it is
    constant. A task's average starts with its first gradient, waits while its row is zero and
    does not change the others'. What is undefined is so in the other rule.

    Args:
        balancer: the rule whose weights are averaged: a Gramian one, its name or its config.
            "mgda".
        alpha: how much of the average stays, from 0 to below 1. 0.9.

    Raises:
        ValueError: for another kind of rule, or an alpha outside of that.

    Example:

    >>> import numpy as np
    >>> balancer = CRMOGM("mgda")
    >>> np.round(balancer.weights(np.diag([1.0, 4.0])), 2).tolist()
    [0.8, 0.2]
    >>> np.round(balancer.weights(np.diag([4.0, 1.0])), 2).tolist()
    [0.74, 0.26]
    """

    def __init__(self, balancer: Any = "mgda", alpha: float = 0.9):
        super().__init__()
        self.balancer = get(balancer)
        if not isinstance(self.balancer, GramianBalancer):
            raise ValueError(
                "`balancer` must be a GramianBalancer, such as 'mgda'. "
                f"Received: balancer={balancer!r}"
            )
        self.alpha = checked_rate(alpha, "alpha")
        self.needs, self.samples = self.balancer.needs, self.balancer.samples
        # Saved with this rule's own.
        self.state.averaged = self.balancer.state

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """Averages and whether they have begun; the other rule's state."""
        self.balancer.build(num_tasks, dtype)
        self.average = self.add_variable("average", (num_tasks,), dtype=dtype)
        self.begun = self.add_variable("begun", (num_tasks,), dtype=dtype)

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """A step of the other rule, a step of the average."""
        weights = ops.cast(self.balancer.solve(gramian, present, losses), gramian.dtype)
        average = ops.cast(ops.convert_to_tensor(self.average), gramian.dtype)
        begun = ops.convert_to_tensor(self.begun) > 0
        moved = self.alpha * average + (1 - self.alpha) * weights
        average = ops.where(present, ops.where(begun, moved, weights), average)
        self.average.assign(average)
        self.begun.assign(ops.cast(begun | present, self.begun.dtype))
        return average

    def end_epoch(self) -> None:
        """Tells the other rule."""
        self.balancer.end_epoch()

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            "balancer": keras.saving.serialize_keras_object(self.balancer),
            "alpha": self.alpha,
        }
