"""The mean of each task's losses over an epoch, as state of a rule."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import Balancer


class EpochMean:
    """Running means of the steps in which a task was present.

    Args:
        balancer: the rule that keeps the variables.
        num_tasks: number of tasks.
        dtype: of the means.
    """

    def __init__(self, balancer: Balancer, num_tasks: int, dtype: str):
        self.mean = balancer.add_variable("epoch_mean", (num_tasks,), dtype=dtype)
        self.count = balancer.add_variable("epoch_count", (num_tasks,), dtype=dtype)

    def update(self, losses: Any, present: Any) -> None:
        """One more step."""
        count = ops.convert_to_tensor(self.count) + ops.cast(present, self.count.dtype)
        mean = ops.convert_to_tensor(self.mean)
        change = ops.cast(ops.stop_gradient(losses), mean.dtype) - mean
        # A count of 0 divides nothing that is kept.
        moved = mean + change / ops.where(count > 0, count, ops.ones_like(count))
        self.mean.assign(ops.where(present, moved, mean))
        self.count.assign(count)

    def take(self) -> tuple[Any, Any]:
        """The means and which tasks were seen, both (K,); the next epoch starts from nothing."""
        mean, count = ops.copy(self.mean.value), ops.copy(self.count.value)
        self.mean.assign(ops.zeros_like(mean))
        self.count.assign(ops.zeros_like(count))
        return mean, count > 0
