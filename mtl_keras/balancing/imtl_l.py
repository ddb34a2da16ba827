"""IMTL-L: learned scales that bring all losses to 1."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import LossBalancer
from mtl_keras.balancing.registry import rule


@rule("imtl_l", source="Liu et al., 2021, Towards Impartial Multi-Task Learning")
class IMTLL(LossBalancer):
    """total = sum_k exp(s_k) L_k - s_k, with trained s_k: the loss balance of IMTL.

    The best s_k is -log L_k: every scaled loss comes to 1, whatever kind of loss it is, and a
    task's weight to 1 / L_k. s starts at 0. `UncertaintyWeighting` is the same up to constants;
    `LogScalarization` is what both come to when s follows at once.

    A loss below 0 has no best s: it is weighed as the equation says, and training lets its
    weight grow without end. An absent task's s stays.

    Example:

    >>> float(IMTLL().total([4.0, 2.0]))
    6.0
    """

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """The logarithms of the scales."""
        self.log_scales = self.add_variable("log_scales", (num_tasks,), dtype=dtype, trainable=True)

    def combine(self, losses: Any, present: Any) -> Any:
        """The equation, over the tasks that are present."""
        terms = self.weigh(losses, present) * losses - ops.cast(self.log_scales, losses.dtype)
        return ops.sum(ops.where(present, terms, ops.zeros_like(terms)))

    def weigh(self, losses: Any, present: Any) -> Any:
        """exp(s)."""
        return ops.exp(ops.cast(self.log_scales, losses.dtype))
