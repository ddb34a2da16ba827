"""Sum: every task as it is."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import LossBalancer
from mtl_keras.balancing.registry import rule


@rule("sum", source="Caruana, 1997, Multitask Learning")
class Sum(LossBalancer):
    """total = sum_k L_k: what `fit` does without a balancer.

    With tuned loss weights it is the baseline that other rules have to beat (Kurin et al.,
    2022; Xin et al., 2022). Where it is undefined: nowhere.

    Example:

    >>> float(Sum().total([1.0, 2.0]))
    3.0
    """

    def weigh(self, losses: Any, present: Any) -> Any:
        """One each."""
        return ops.ones_like(losses)
