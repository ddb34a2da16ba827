"""PCGrad: each gradient gives up what conflicts with the others."""

from typing import Any

from keras import ops

from mtl_keras.balancing import orders, solvers
from mtl_keras.balancing.base import GramianBalancer
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_count


@rule("pcgrad", source="Yu et al., 2020, Gradient Surgery for Multi-Task Learning")
class PCGrad(GramianBalancer):
    """d = sum_i g_i', where g_i' starts as g_i and meets all g_j, j != i, in random order:
    g_i' <- g_i' - min(g_i' . g_j, 0) g_j / |g_j|^2 (Algorithm 1).

    Each task draws an order of its own. The sum is the paper's; some code returns the mean, or
    lets all tasks share an order. A later projection may bring an earlier conflict back, so
    for K > 2 the update may conflict with a task. Opposite gradients cancel; a zero row takes
    no part; K = 1 has weight 1.

    Args:
        seed: of the orders. None takes one at random.

    Example:

    >>> import numpy as np
    >>> rows = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
    >>> np.round(PCGrad().weights(rows @ rows.T), 4).tolist()
    [2.2222, 1.5789]
    """

    def __init__(self, seed: int | None = None):
        super().__init__()
        self.seed = None if seed is None else checked_count(seed, "seed", minimum=0)

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """Makes the generator."""
        self.draws = self.add_draws(self.seed)

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """All g_i' at once, as coefficients of unit rows; one step of their orders at a time."""
        cosines, norms = solvers.unit_rows(gramian, present)
        count = norms.shape[0]
        order = orders.drawn(count, self.draws)
        taken, _ = orders.encounters(cosines, order, lambda product: (ops.relu(-product), ()))
        parts = ops.eye(count, dtype=norms.dtype) + taken
        return ops.sum(norms[:, None] * parts, axis=0) / norms

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"seed": self.seed}
