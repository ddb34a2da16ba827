"""Auto-Lambda: weights that lower the primary tasks' loss on validation data."""

from typing import Any

import keras
from keras import ops

from mtl_keras.balancing.adam import Adam
from mtl_keras.balancing.base import LossBalancer
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_nonnegative, checked_positive


@rule(
    "auto_lambda",
    source="Liu et al., 2022, Auto-Lambda: Disentangling Dynamic Task Relationships",
)
class AutoLambda(LossBalancer):
    """sum_k lambda_k L_k, where lambda takes Adam steps on what a training step does elsewhere.

    With theta' = theta - alpha grad sum_k lambda_k L_k(theta) on training data and V the sum of
    the primary tasks' losses on validation data, lambda follows
    dV(theta') / dlambda_k = -alpha <grad V(theta'), grad L_k(theta)>. A rule sees training losses
    alone: that gradient comes from `mtl_keras.callbacks.AutoLambdaUpdates` in a fit, or from
    your own code through `learn`. Without either the weights stay what they are.

    The official code lets weights fall below 0, where a loss is driven up without bound; here
    they stop at `minimum`, and `minimum=None` follows the code. Nothing keeps their sum: where
    most steps help, all weights grow.

    lambda and Adam's moments are state. A task that is absent from a step of training has
    weight 0 there. A task whose gradient is exactly 0, such as one without a label, waits.

    Args:
        learning_rate: of lambda, above 0. Defaults to 1e-4 (the official code's for dense
            prediction; 3e-4 for CIFAR-100).
        initial: each lambda at the start, above 0. Defaults to 0.1.
        minimum: what no lambda falls below, at least 0 and at most `initial`, or None. Defaults
            to 0.

    Raises:
        ValueError: for values outside these ranges.

    Example:

    >>> rule = AutoLambda(learning_rate=0.01)
    >>> np.round(np.float64(rule.weights([1.0, 4.0])), 3).tolist()
    [0.1, 0.1]
    >>> rule.learn([-2.0, 0.5])  # more of the first task would lower V
    >>> np.round(np.float64(rule.weights([1.0, 4.0])), 3).tolist()
    [0.11, 0.09]
    """

    def __init__(
        self, learning_rate: float = 1e-4, initial: float = 0.1, minimum: float | None = 0.0
    ):
        super().__init__()
        self.learning_rate = checked_positive(learning_rate, "learning_rate")
        self.initial = checked_positive(initial, "initial")
        self.minimum = None if minimum is None else checked_nonnegative(minimum, "minimum")
        if self.minimum is not None and self.minimum > self.initial:
            raise ValueError(
                f"`minimum` must be at most `initial`, {self.initial}. Received: minimum={minimum}"
            )

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """lambda, Adam's moments and steps, all (K,)."""
        start = keras.initializers.Constant(self.initial)
        self.task_weights = self.add_variable("task_weights", (num_tasks,), start, dtype)
        self.adam = Adam(self, num_tasks, dtype)

    def weigh(self, losses: Any, present: Any) -> Any:
        """lambda."""
        return ops.cast(ops.convert_to_tensor(self.task_weights), losses.dtype)

    def learn(self, gradient: Any) -> None:
        """One step of lambda; none at all when the gradient is not finite.

        Args:
            gradient: dV / dlambda, (K,).

        Raises:
            ValueError: for another shape or number of tasks.
        """
        gradient = ops.convert_to_tensor(gradient)
        if len(gradient.shape) != 1:
            raise ValueError(f"`gradient` must be (K,). Received: shape {tuple(gradient.shape)}")
        self.build(gradient.shape[0])
        gradient = ops.cast(gradient, self.task_weights.dtype)
        moving = ops.logical_and(gradient != 0, ops.all(ops.isfinite(gradient)))
        step = self.adam.step(ops.where(moving, gradient, ops.zeros_like(gradient)), moving)
        weights = ops.convert_to_tensor(self.task_weights) - self.learning_rate * step
        if self.minimum is not None:
            lowest = ops.full_like(weights, self.minimum)
            weights = ops.where(weights < lowest, lowest, weights)
        self.task_weights.assign(weights)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            "learning_rate": self.learning_rate,
            "initial": self.initial,
            "minimum": self.minimum,
        }
