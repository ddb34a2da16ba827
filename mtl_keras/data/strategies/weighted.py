"""Weighted: chances as given."""

from collections.abc import Mapping

import numpy as np

from mtl_keras.checks import checked_positive
from mtl_keras.data.strategies.base import Strategy, register, shares


@register
class Weighted(Strategy):
    """p_k in proportion to a weight for each task; a dict given as `strategy` becomes one.

    Args:
        weights: task name to weight, above 0.

    Raises:
        ValueError: for a weight of 0 or less and, when a mixture is drawn, for other names than
            those of its tasks.

    Example:

    >>> Weighted({"books": 3, "dvd": 1}).probabilities({"dvd": 10, "books": 10})
    array([0.25, 0.75])
    """

    arguments = ("weights",)
    needs_sizes = False

    def __init__(self, weights: Mapping[str, float]):
        self.weights = {
            name: checked_positive(weight, f"weights['{name}']") for name, weight in weights.items()
        }

    def phases(self, sizes: Mapping[str, int]) -> dict[int, np.ndarray]:
        """The weights in the order of the tasks, normalised."""
        if set(sizes) != set(self.weights):
            raise ValueError(
                f"`strategy` must weigh the tasks of the mixture, {list(sizes)}, and no others. "
                f"Received: weights of {list(self.weights)}"
            )
        return {0: shares(np.array([self.weights[name] for name in sizes]))}
