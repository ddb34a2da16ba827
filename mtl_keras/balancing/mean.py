"""Mean: the average of the losses that are there."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import LossBalancer
from mtl_keras.balancing.present import number
from mtl_keras.balancing.registry import rule


@rule("mean", source="Caruana, 1997, Multitask Learning")
class Mean(LossBalancer):
    """total = (sum_k L_k) / n, with n the number of tasks that are present.

    The sum with a step that does not grow with the number of tasks; with missing labels a task
    weighs more in a batch that labels few others. Where no task is present it is 0.

    Example:

    >>> float(Mean().total([1.0, 3.0, 0.0]))
    2.0
    """

    def weigh(self, losses: Any, present: Any) -> Any:
        """1/n each."""
        return ops.ones_like(losses) / number(present, losses.dtype)
