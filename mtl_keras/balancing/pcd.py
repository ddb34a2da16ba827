"""PCD: one task leads, and the others get a guaranteed part of their progress."""

from typing import Any

from keras import ops

from mtl_keras.balancing.base import GramianBalancer
from mtl_keras.balancing.registry import rule
from mtl_keras.balancing.solvers import definite, epsilon, nonnegative_minimum, unit_rows
from mtl_keras.checks import (
    checked_between,
    checked_count,
    checked_length,
    checked_numbers,
    checked_rate,
)
from mtl_keras.precision import wide

# A constraint missed by more than this part of what it asks for cannot be kept.
MISSED = 1e-3


@rule("pcd", source="Varam and AlHajri, 2026, Priority-Constrained Descent, arXiv:2606.29521")
class PCD(GramianBalancer):
    """d = |g_1| d' / |d'|, where d' = argmin of |d' - h_1|^2 subject to h_j . d' >= tau |h_j|^2
    for all j but the first (priority-constrained descent).

    Task 1 is the primary one: its gradient is followed as closely as the others' share allows.
    h_k = g_k / sqrt(v_k), with v_k the bias-corrected moving average of |g_k|^2, makes tau a
    part of the progress along a gradient of usual length. By duality d' = h_1 + sum_j m_j h_j
    with m >= 0 of a quadratic program, solved here for any number of tasks; the authors' code
    tries all sets of constraints. It adds 1e-8 to v, which would drown gradients below 1e-4:
    here nothing is added.

    As in the paper: constraints that cannot be kept together, such as those of opposite
    secondary gradients, are dropped for the step, d = g_1; a d' of 0 gives no update; a primary
    gradient of 0 gives none either, whatever the others are. A secondary zero row takes no
    part, and its average waits. K = 1 has weight 1.

    Args:
        tau: guaranteed part of the progress, from 0 to 1; a list has one a task (that of the
            primary is not used). 0.02.
        primary: the place of the primary task. 0.
        beta: how much of the averages stays, from 0 to below 1. 0.999.

    Raises:
        ValueError: for values outside of that, or a list or place that does not fit the tasks.

    Example:

    >>> rows = np.array([[1.0, 0.0], [-1.0, 1.0]])
    >>> weights = np.asarray(PCD(tau=0.0).weights(rows @ rows.T))
    >>> np.round(weights @ rows, 4).tolist()  # What does not harm the second, as long as the first.
    [0.7071, 0.7071]
    """

    def __init__(self, tau: float | list[float] = 0.02, primary: int = 0, beta: float = 0.999):
        super().__init__()
        if isinstance(tau, (list, tuple)):
            self.tau = [checked_between(t, "tau", 0, 1) for t in checked_numbers(tau, "tau")]
        else:
            self.tau = checked_between(tau, "tau", 0, 1)
        self.primary = checked_count(primary, "primary", 0)
        self.beta = checked_rate(beta, "beta")

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """Averages of squared norms, and how many went into them."""
        if isinstance(self.tau, list):
            checked_length(self.tau, "tau", num_tasks)
        if self.primary >= num_tasks:
            raise ValueError(
                f"`primary` must be the place of one of {num_tasks} tasks. "
                f"Received: primary={self.primary}"
            )
        self.squares = self.add_variable("squares", (num_tasks,), dtype=dtype)
        self.counts = self.add_variable("counts", (num_tasks,), dtype=dtype)

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """The dual program in unit rows, and the length of the primary gradient."""
        cosines, norms = unit_rows(gramian, present)
        one, zero = ops.ones_like(norms), ops.zeros_like(norms)
        first = ops.arange(norms.shape[0]) == self.primary
        usual = norms / self._usual_norms(norms, present)
        asked = wide(ops.convert_to_tensor(self.tau)) * usual / usual[self.primary]
        slack = cosines[self.primary] - asked
        bound = present & ops.logical_not(first)
        both = bound[:, None] & bound[None, :]
        matrix = ops.where(both, cosines, ops.eye(norms.shape[0], dtype=norms.dtype))
        linear = ops.where(bound, slack, one)
        parts = nonnegative_minimum(definite(matrix, gramian), linear[None])[0]
        missed = (matrix @ parts[:, None])[:, 0] + linear < -MISSED * (ops.abs(linear) + asked)
        parts = ops.where(ops.any(missed), zero, parts)
        parts = ops.where(first, one, ops.where(bound, parts, zero))
        square = ops.sum(parts * (cosines @ parts[:, None])[:, 0])
        real = square > 10 * epsilon(gramian) * ops.sum(parts) ** 2
        length = norms[self.primary] / ops.sqrt(ops.where(real, square, one[0]))
        return ops.where(real & present[self.primary], parts * length / norms, zero)

    def _usual_norms(self, norms, present):
        """sqrt(v) of the tasks, with this call's norms in it; 1 where there is none yet."""
        one = ops.ones_like(norms)
        kept = wide(ops.convert_to_tensor(self.squares))
        counts = wide(ops.convert_to_tensor(self.counts)) + ops.cast(present, norms.dtype)
        # The share of the newest that bias correction amounts to; 1 for the first.
        share = (1 - self.beta) / (1 - self.beta ** ops.where(counts > 0, counts, one))
        squares = ops.where(present, kept + share * (norms**2 - kept), kept)
        self.squares.assign(ops.cast(squares, self.squares.dtype))
        self.counts.assign(ops.cast(counts, self.counts.dtype))
        return ops.sqrt(ops.where(squares > 0, squares, one))

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"tau": self.tau, "primary": self.primary, "beta": self.beta}
