"""Geometric mean of the losses."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import LossBalancer
from mtl_keras.balancing.present import above, number
from mtl_keras.balancing.registry import rule


@rule("gls", source="Chennupati et al., 2019, MultiNet++")
class GeometricMean(LossBalancer):
    """total = (prod_k L_k)^(1/n), over the n tasks that are present: GLS.

    Invariant to the scale of each loss, up to a common factor. Computed from logarithms: the
    product of 50 small losses, as the paper writes it, underflows. A loss below 0 has no
    geometric mean: its task takes no part; `LogScalarization` has lower bounds for that.

    Example:

    >>> round(float(GeometricMean().total([1.0, 4.0])), 4)
    2.0
    """

    def weigh(self, losses: Any, present: Any) -> Any:
        """The mean over n L_k; these weights times the losses sum to the mean."""
        losses, present = above(losses, present)
        logs, count = ops.log(losses), number(present, losses.dtype)
        # Of a task that takes no part, the logarithm is 0.
        weights = ops.exp(ops.sum(logs) / count - logs) / count
        return ops.where(present, weights, ops.zeros_like(weights))
