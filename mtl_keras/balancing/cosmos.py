"""COSMOS: a weighted sum that pulls the losses towards a preferred ratio."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import LossBalancer
from mtl_keras.balancing.directions import unit
from mtl_keras.balancing.present import shares
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_length, checked_nonnegative, checked_weights


@rule("cosmos", source="Ruchte and Grabocka, 2021, Scalable Pareto Front Approximation")
class COSMOS(LossBalancer):
    """total = sum_k p_k L_k - lambda cos(L, p), p summing to 1 over the tasks present.

    The losses' vector is pulled towards the direction of p, thus towards large losses where p
    is large, as the paper has it. The paper draws p anew for each batch and feeds it to the
    model; here it is fixed. Weights can be negative: to turn towards p a loss may have to rise.
    The cosine's gradient shrinks with the losses' size, so that lambda has to fit their scale.
    Losses may be negative. With one task the cosine is constant and the total is L - lambda.

    Args:
        preference: p, at least 0; made to sum to 1. Defaults to equal.
        penalty: lambda, at least 0. Defaults to 2 (the official code's default; it uses 0.01
            to 8).

    Raises:
        ValueError: for negative values, or another number of entries than of tasks.

    Example:

    >>> round(float(COSMOS().total([1.0, 1.0])), 4)  # the mean, less 2
    -1.0
    """

    def __init__(self, preference: Any = None, penalty: float = 2.0):
        super().__init__()
        self.preference = checked_weights(preference, "preference")
        self.penalty = checked_nonnegative(penalty, "penalty")

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """Checks the length of the preference."""
        checked_length(self.preference, "preference", num_tasks)

    def combine(self, losses: Any, present: Any) -> Any:
        """The equation."""
        preference = shares(self.preference, present, losses.dtype)
        (losses_unit, _), (preferred, _) = unit(losses), unit(preference)
        return ops.sum(preference * losses) - self.penalty * ops.sum(preferred * losses_unit)

    def weigh(self, losses: Any, present: Any) -> Any:
        """Its derivative: p - lambda (q - cos u) / |L|, with u, q the directions of L, p."""
        preference = shares(self.preference, present, losses.dtype)
        (losses_unit, length), (preferred, _) = unit(losses), unit(preference)
        across = preferred - ops.sum(preferred * losses_unit) * losses_unit
        return preference - self.penalty * across / ops.where(length > 0, length, 1.0)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"preference": self.preference, "penalty": self.penalty}
