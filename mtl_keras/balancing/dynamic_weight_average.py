"""Dynamic weight average: tasks whose loss falls slowly weigh more."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import LossBalancer
from mtl_keras.balancing.epoch_mean import EpochMean
from mtl_keras.balancing.present import number, softmax
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_positive


@rule("dwa", source="Liu et al., 2019, End-to-End Multi-Task Learning with Attention")
class DynamicWeightAverage(LossBalancer):
    """w_k = n softmax_k(r_k / T), r_k = L_k(t-1) / L_k(t-2) from means over epochs.

    Weights sum to n, the number of tasks that are present. During the first two epochs they
    are equal. A task that an epoch did not label keeps the two means it had; one with fewer
    than two has r = 1. Means may be negative, but then a ratio says little; where the older
    mean is 0, r = 1.

    Needs to be told of the end of an epoch (`end_epoch`); `fit` does so. Within an epoch the
    weights do not change.

    Args:
        temperature: T above 0; larger is more equal. Defaults to 2.

    Raises:
        ValueError: for a temperature that is not above 0.

    Example:

    >>> rule = DynamicWeightAverage()
    >>> for losses in [[1.0, 1.0], [0.5, 1.0]]:
    ...     _ = rule.total(losses)
    ...     rule.end_epoch()
    >>> np.round(np.float64(rule.weights([0.5, 1.0])), 3).tolist()
    [0.876, 1.124]
    """

    needs = ("epochs",)

    def __init__(self, temperature: float = 2.0):
        super().__init__()
        self.temperature = checked_positive(temperature, "temperature")

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """Means of this epoch and of the two before it."""
        self.epoch = EpochMean(self, num_tasks, dtype)
        self.last = self.add_variable("last", (num_tasks,), dtype=dtype)
        self.before_last = self.add_variable("before_last", (num_tasks,), dtype=dtype)
        self.seen = self.add_variable("epochs_seen", (num_tasks,), dtype="int32")

    def end_epoch(self) -> None:
        """The means move on by an epoch, for the tasks that it labelled."""
        mean, seen = self.epoch.take()
        last, older = self.last.value, self.before_last.value
        self.before_last.assign(ops.where(seen, last, older))
        self.last.assign(ops.where(seen, mean, last))
        self.seen.assign(self.seen.value + ops.cast(seen, "int32"))

    def weigh(self, losses: Any, present: Any) -> Any:
        """n softmax(r / T)."""
        self.epoch.update(losses, present)
        last = ops.cast(self.last, losses.dtype)
        older = ops.cast(self.before_last, losses.dtype)
        known = ops.logical_and(ops.convert_to_tensor(self.seen) >= 2, older != 0)
        one = ops.ones_like(losses)
        ratio = ops.where(known, last / ops.where(known, older, one), one)
        return number(present, losses.dtype) * softmax(ratio / self.temperature, present)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"temperature": self.temperature}
