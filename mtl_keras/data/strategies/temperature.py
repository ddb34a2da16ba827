"""Temperature: chances between equal and proportional to size."""

import math
from collections.abc import Mapping

import numpy as np

from mtl_keras.checks import checked_positive
from mtl_keras.data.strategies.base import Strategy, register, shares


@register
class Temperature(Strategy):
    """p_k in proportion to N_k^(1 / T), with N_k the examples of task k.

    T = 1 samples in proportion to size, T = 2 to its square root, and T = infinity all tasks
    equally. Named "proportional", "square_root", "uniform" and, with T = 5, "temperature".

    Args:
        temperature: T, above 0; may be infinite. Default 5.

    Raises:
        ValueError: for a temperature of 0 or less.

    Example:

    >>> Temperature(2.0).probabilities({"a": 900, "b": 100})
    array([0.75, 0.25])

    Reference:
        Arivazhagan et al. 2019, "Massively Multilingual Neural Machine Translation in the
        Wild", section 4.2, arXiv:1907.05019.
    """

    arguments = ("temperature",)

    def __init__(self, temperature: float = 5.0):
        if temperature != math.inf:
            temperature = checked_positive(temperature, "temperature")
        self.temperature = temperature

    @property
    def needs_sizes(self) -> bool:
        """Whether sizes matter: not where all tasks are equal."""
        return self.temperature != math.inf

    def phases(self, sizes: Mapping[str, int]) -> dict[int, np.ndarray]:
        """N^(1/T), normalised."""
        if not self.needs_sizes:
            return {0: np.full(len(sizes), 1 / len(sizes))}
        return {0: shares(np.fromiter(sizes.values(), float) ** (1 / self.temperature))}

    def get_config(self) -> dict:
        """JSON has no infinity."""
        return {"temperature": self.temperature if self.needs_sizes else "inf"}

    @classmethod
    def from_config(cls, config: dict) -> "Temperature":
        """The inverse of `get_config`."""
        return cls(float(config["temperature"]))
