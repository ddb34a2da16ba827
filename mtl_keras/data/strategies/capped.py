"""Capped: proportional to size, as if no task had more than so many examples."""

from collections.abc import Mapping

import numpy as np

from mtl_keras.checks import checked_count, checked_positive
from mtl_keras.data.strategies.base import Strategy, register
from mtl_keras.data.strategies.temperature import Temperature


@register
class Capped(Strategy):
    """p_k in proportion to min(N_k, limit)^(1 / T): one vast task does not drown the others.

    Args:
        limit: the size from which on a task counts as no larger, 1 or more.
        temperature: T. Default 1.

    Raises:
        ValueError: for a limit below 1 or a temperature of 0 or less.

    Example:

    >>> Capped(100).probabilities({"a": 50, "b": 100, "c": 100_000})
    array([0.2, 0.4, 0.4])

    Reference:
        Raffel et al. 2020, "Exploring the Limits of Transfer Learning with a Unified
        Text-to-Text Transformer" (T5), section 3.5.2, examples-proportional and
        temperature-scaled mixing, arXiv:1910.10683.
    """

    arguments = ("limit", "temperature")

    def __init__(self, limit: int, temperature: float = 1.0):
        self.limit = checked_count(limit, "limit")
        self.temperature = checked_positive(temperature, "temperature")

    def phases(self, sizes: Mapping[str, int]) -> dict[int, np.ndarray]:
        """min(N, limit)^(1/T), normalised."""
        capped = {name: min(size, self.limit) for name, size in sizes.items()}
        return Temperature(self.temperature).phases(capped)
