"""Static weights: constants chosen beforehand."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import LossBalancer
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_length, checked_weights


@rule("static_weights", source="Xin et al., 2022, Do Current Multi-Task Optimization Methods Help")
class StaticWeights(LossBalancer):
    """total = sum_k w_k L_k with constants w: linear scalarisation.

    Tuned, it is the baseline that other rules have to beat (Kurin et al., 2022; Xin et al.,
    2022). The weights are taken as they are, also when a task is absent: nothing is
    renormalised. Where it is undefined: nowhere.

    Args:
        weights: one number of at least 0 a task. Defaults to 1 each, the sum.

    Raises:
        ValueError: for negative or no weights, or another number of them than of tasks.

    Example:

    >>> float(StaticWeights([1.0, 0.5]).total([1.0, 2.0]))
    2.0
    """

    def __init__(self, weights: Any = None):
        super().__init__()
        # `weights` is the name of the method that returns what a call weighs.
        self.constants = checked_weights(weights, "weights")

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """Checks the number of weights."""
        checked_length(self.constants, "weights", num_tasks)

    def weigh(self, losses: Any, present: Any) -> Any:
        """The constants."""
        if self.constants is None:
            return ops.ones_like(losses)
        return ops.convert_to_tensor(self.constants, losses.dtype)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"weights": self.constants}
