"""Krum: the gradient that lies among the others."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import GramianBalancer
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_count
from mtl_keras.precision import wide

# Scores this close, in parts of what was subtracted for them, are equal: rounding chooses none.
TIE = 1e-6


@rule("krum", source="Blanchard et al., 2017, Machine Learning with Adversaries")
class Krum(GramianBalancer):
    """The mean of the m gradients of least score: the sum of the SQUARED distances to the
    K - f - 2 nearest others, with f gradients that may be arbitrarily wrong.

    m = 1 is Krum, more is Multi-Krum. The paper sums squared distances, as here; one peer sums
    distances. Where several tasks share the last place, all of them are taken: the order of
    the tasks never decides. K counts the rows that are not zero; at least one neighbour counts,
    so K <= f + 3 works too, without the paper's guarantee (which asks for K > 2 f + 2): K = 1
    has weight 1, K = 2 has weights 1/2.

    Args:
        byzantine: f, at least 0. 0.
        selected: m, at least 1. 1.

    Raises:
        ValueError: for other values.

    Example:

    >>> import numpy as np
    >>> rows = np.array([[1.0, 0.0], [0.9, 0.1], [0.8, 0.0], [1.2, 0.1], [-50.0, 50.0]])
    >>> np.asarray(Krum(byzantine=1).weights(rows @ rows.T)).tolist()
    [0.0, 1.0, 0.0, 0.0, 0.0]
    """

    def __init__(self, byzantine: int = 0, selected: int = 1):
        super().__init__()
        self.byzantine = checked_count(byzantine, "byzantine", 0)
        self.selected = checked_count(selected, "selected")

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """Scores of sorted distances, then equal shares for the least."""
        gramian = wide(gramian)
        squares = ops.diagonal(gramian)
        far = ops.full_like(gramian, float("inf"))
        distances = ops.relu(squares[:, None] + squares[None, :] - 2 * gramian)
        others = present[:, None] & present[None, :] & (ops.eye(squares.shape[0]) == 0)
        count = ops.sum(ops.cast(present, "int32"))
        near = ops.clip(count - self.byzantine - 2, 1, squares.shape[0])
        rank = ops.arange(squares.shape[0], dtype="int32")
        ranked = ops.sort(ops.where(others, distances, far), axis=1)
        counted = (rank < near) & (rank < count - 1)
        scores = ops.sum(ops.where(counted[None, :], ranked, ops.zeros_like(ranked)), axis=1)
        scores = ops.where(present, scores, far[0])
        last = ops.sort(scores)[min(self.selected, squares.shape[0]) - 1]
        rounding = TIE * (last + ops.cast(near, squares.dtype) * squares)
        chosen = present & (scores <= last + rounding)
        chosen = ops.cast(chosen, gramian.dtype)
        total = ops.sum(chosen)
        return chosen / ops.where(total > 0, total, ops.ones_like(total))

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"byzantine": self.byzantine, "selected": self.selected}
