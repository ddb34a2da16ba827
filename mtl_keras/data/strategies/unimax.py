"""UniMax: as equal as it gets without repeating a small task too often."""

from collections.abc import Mapping

import numpy as np

from mtl_keras.checks import checked_count, checked_positive
from mtl_keras.data.strategies.base import Strategy, register, shares


@register
class UniMax(Strategy):
    """Shares a budget of examples equally, with no task seen more than `max_epochs` times.

    From the smallest task on, each gets an equal part of what is left of the budget, or
    `max_epochs` N_k examples when that is less.

    Args:
        budget: examples that the whole training draws, over all tasks: batch size times steps.
        max_epochs: how often a task may be seen, above 0. Default 1.

    Raises:
        ValueError: for a budget below 1 or `max_epochs` of 0 or less.

    Example:

    >>> UniMax(budget=1000, max_epochs=2).probabilities({"a": 50, "b": 5000, "c": 5000})
    array([0.1 , 0.45, 0.45])

    Reference:
        Chung et al. 2023, "UniMax: Fairer and More Effective Language Sampling for Large-Scale
        Multilingual Pretraining", algorithm 1, arXiv:2304.09151.
    """

    arguments = ("budget", "max_epochs")

    def __init__(self, budget: int, max_epochs: float = 1.0):
        self.budget = checked_count(budget, "budget")
        self.max_epochs = checked_positive(max_epochs, "max_epochs")

    def phases(self, sizes: Mapping[str, int]) -> dict[int, np.ndarray]:
        """Parts of the budget, normalised."""
        most = self.max_epochs * np.fromiter(sizes.values(), float)
        granted, left = np.empty(len(most)), float(self.budget)
        for done, task in enumerate(np.argsort(most, kind="stable")):
            granted[task] = min(left / (len(most) - done), most[task])
            left -= granted[task]
        return {0: shares(granted)}
