"""RoundRobin: one task after the other."""

from collections.abc import Mapping

import numpy as np

from mtl_keras.data.strategies.base import Strategy, register


@register
class RoundRobin(Strategy):
    """The tasks in turn, without chance; where one batch stopped, the next goes on.

    Example:

    >>> RoundRobin().draw({"a": 5, "b": 9}, batch=1, count=3, rng=None)
    array([1, 0, 1])
    """

    needs_sizes = False

    def probabilities(self, sizes: Mapping[str, int], batch: int = 0) -> np.ndarray:
        """How often each task has its turn."""
        return np.full(len(sizes), 1 / len(sizes))

    def draw(self, sizes, batch, count, rng, stratified=False):
        """As in `Strategy`; `rng` is not asked, and turns are stratified in any case."""
        return (batch * count + np.arange(count)) % len(sizes)
