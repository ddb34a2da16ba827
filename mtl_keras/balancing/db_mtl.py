"""DB-MTL: gradients of logarithms, all as long as the longest."""

from typing import Any

from keras import ops

from mtl_keras.balancing import rows
from mtl_keras.balancing.base import JacobianBalancer
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_rate

# What the official code adds to a loss before its logarithm.
FLOOR = 1e-8


@rule("db_mtl", source="Lin et al., 2023, Dual-Balancing for Multi-Task Learning, arXiv:2308.12029")
class DBMTL(JacobianBalancer):
    """d = max_j |m_j| * sum_k m_k / |m_k|, with m_k the moving average of the gradient of log L_k.

    m_k <- beta m_k + (1 - beta) g_k / (L_k + 1e-8), from 0 and without a correction for it, as
    in the official code (LibMTL, weighting/DB_MTL.py): first updates are shorter by 1 - beta, for
    all tasks alike. There beta is 0.9, over t^DB_beta_sigma in step t, with 0 as the default of
    DB_beta_sigma; here it never falls. There heads follow the logarithms too, here the losses.

    Adam keeps an average of its own: beta = 0 did better under it in this package's comparison.

    The logarithm needs a positive loss. The gradient of a negative one is divided by its
    absolute value, which still leads downhill. A zero row takes no part, and its average waits;
    K = 1 returns the average. A task whose average is zero adds nothing.

    Memory: one more (K, P) array.

    Args:
        beta: how much of the average stays, from 0 to below 1. 0.9.

    Raises:
        ValueError: for a beta outside of that.

    Example:

    >>> import numpy as np
    >>> rows = np.array([[3.0, 0.0], [0.0, 1.0]])
    >>> np.round(DBMTL(beta=0.0).direction(rows, losses=[1.0, 0.5]), 4).tolist()
    [3.0, 3.0]
    """

    needs = ("losses",)

    keeps_rows = True

    def __init__(self, beta: float = 0.9):
        super().__init__()
        self.beta = checked_rate(beta, "beta")

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """The averages, one row a task."""
        self.average = self.add_variable("average", (num_tasks, self.size), dtype=dtype)

    def aggregate(self, jacobian: Any, present: Any, losses: Any) -> Any:
        """Averages, then one length for all."""
        average = ops.cast(ops.convert_to_tensor(self.average), jacobian.dtype)
        logarithmic = jacobian / (ops.abs(losses) + FLOOR)[:, None]
        moved = self.beta * average + (1 - self.beta) * logarithmic
        average = ops.where(present[:, None], moved, average)
        self.average.assign(average)
        lengths = rows.norms(average)
        used = present & (lengths > 0)
        longest = ops.max(ops.where(used, lengths, ops.zeros_like(lengths)))
        scales = longest / ops.where(used, lengths, ops.ones_like(lengths))
        return rows.mix(ops.where(used, scales, ops.zeros_like(scales)), average)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"beta": self.beta}
