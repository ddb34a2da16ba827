"""RoundRobin: one task after the other."""

from collections.abc import Mapping

import numpy as np

from mtl_keras.data.strategies.base import Strategy, register


@register
class RoundRobin(Strategy):
    """The tasks in turn, without chance; where one batch stopped, the next goes on.

    Example:

    >>> from mtl_keras.data import Mixture
    >>> [ids.tolist() for ids, _ in zip(Mixture({"a": 5, "b": 9}, RoundRobin(), 3).batches(), "ab")]
    [[0, 1, 0], [1, 0, 1]]
    """

    needs_sizes = False
    in_turn = True

    def phases(self, sizes: Mapping[str, int]) -> dict[int, np.ndarray]:
        """How often each task has its turn."""
        return {0: np.full(len(sizes), 1 / len(sizes))}
