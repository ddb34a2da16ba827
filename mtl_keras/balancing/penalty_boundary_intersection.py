"""Penalty boundary intersection: along a preferred direction, and not away from it."""

from typing import Any

import keras
from keras import ops

from mtl_keras.balancing.base import LossBalancer
from mtl_keras.balancing.directions import unit
from mtl_keras.balancing.present import shares
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import (
    checked_length,
    checked_nonnegative,
    checked_numbers,
    checked_weights,
)


@rule("pbi", source="Zhang and Li, 2007, MOEA/D")
class PenaltyBoundaryIntersection(LossBalancer):
    """total = d1 + theta d2: along and across a direction q from the ideal point b.

    d1 = (L - b) . q and d2 = |L - b - d1 q|, with q the direction of the preference over the
    tasks that are present. The paper has |d1|, which is the same for losses above b; signed,
    it still falls when a loss passes under b. Weights can be negative: to come nearer to the
    line a loss may have to rise; theta = 0 is a weighted sum.

    On the line itself d2 has no derivative: when d2 is within rounding of 0, its part of the
    weights is 0. So it is with one task.

    Args:
        preference: the direction, at least 0. Defaults to equal.
        theta: penalty, at least 0. Defaults to 5, as in the paper's experiments.
        lower_bounds: b, the ideal point. Defaults to 0 each.

    Raises:
        ValueError: for negative values, or another number of entries than of tasks.

    Example:

    >>> rule = PenaltyBoundaryIntersection(preference=[0.0, 1.0], theta=3.0)
    >>> rule.weights([1.0, 7.0]).numpy().tolist()
    [3.0, 1.0]
    """

    def __init__(self, preference: Any = None, theta: float = 5.0, lower_bounds: Any = None):
        super().__init__()
        self.preference = checked_weights(preference, "preference")
        self.theta = checked_nonnegative(theta, "theta")
        self.lower_bounds = checked_numbers(lower_bounds, "lower_bounds")

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """Checks lengths."""
        checked_length(self.preference, "preference", num_tasks)
        checked_length(self.lower_bounds, "lower_bounds", num_tasks)

    def combine(self, losses: Any, present: Any) -> Any:
        """d1 + theta d2."""
        losses, along, _, distance = self._split(losses, present)
        return ops.sum(losses * along) + self.theta * distance

    def weigh(self, losses: Any, present: Any) -> Any:
        """q + theta times the direction away from the line."""
        _, along, across, _ = self._split(losses, present)
        return along + self.theta * across

    def _split(self, losses, present):
        """L - b, q, the direction across the line and the distance from it."""
        if self.lower_bounds is not None:
            losses = losses - ops.convert_to_tensor(self.lower_bounds, losses.dtype)
        losses = ops.where(present, losses, ops.zeros_like(losses))
        along, _ = unit(shares(self.preference, present, losses.dtype))
        across, distance = unit(losses - ops.sum(losses * along) * along)
        rounding = 1e-6 if keras.backend.standardize_dtype(losses.dtype) == "float32" else 1e-14
        away = distance > rounding * unit(losses)[1]
        none = ops.zeros_like(distance)
        return losses, along, ops.where(away, across, none), ops.where(away, distance, none)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            "preference": self.preference,
            "theta": self.theta,
            "lower_bounds": self.lower_bounds,
        }
