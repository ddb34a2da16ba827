"""FAMO: all losses fall at the same rate, from losses alone."""

from typing import Any

from keras import ops

from mtl_keras.balancing.adam import Adam
from mtl_keras.balancing.base import LossBalancer
from mtl_keras.balancing.present import above, softmax
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import (
    checked_length,
    checked_nonnegative,
    checked_numbers,
    checked_positive,
)


@rule("famo", source="Liu et al., 2023, FAMO: Fast Adaptive Multitask Optimization")
class FAMO(LossBalancer):
    """w_k = c z_k / D_k, z = softmax(xi), D = L - b, 1/c = sum_k z_k / D_k (algorithm 1).

    It is the gradient of c sum_k z_k log D_k with z and c constant; weights sum to 1. xi takes
    an Adam step along d = J_z^T delta + gamma xi, where delta_k = log D_k(t) - log D_k(t+1) is
    how far a step brought task k: tasks that fell less than the others gain.

    The paper and the official class take delta from a second forward pass on the same batch.
    Here delta is taken from the next call, thus from the next batch (what the official
    script does on its toy): no second pass, but delta then has the noise between batches. The
    paper writes a plain step for xi; its code uses Adam, and so does this. The code adds 1e-8
    to D, this does not: it would hide losses of that size.

    xi, Adam's moments and the last losses are state. A task moves when this call and an
    earlier one had it; delta then spans the calls since. An absent task keeps its state and z
    is over the others. A loss at or under its bound has no logarithm: it counts as absent.

    Args:
        learning_rate: of xi, above 0. Defaults to 0.025.
        gamma: decay of xi, at least 0. Defaults to 1e-3 (the official class: 0.01).
        lower_bounds: b, what no loss falls below; needed when losses can be negative.
            Defaults to 0 each.

    Raises:
        ValueError: for values outside these ranges, or another number of bounds than of tasks.

    Example:

    >>> rule = FAMO()
    >>> np.round(np.float64(rule.weights([1.0, 4.0])), 3).tolist()
    [0.8, 0.2]
    >>> np.round(np.float64(rule.weights([0.5, 4.0])), 3).tolist()  # the second did not fall
    [0.884, 0.116]
    """

    def __init__(self, learning_rate: float = 0.025, gamma: float = 1e-3, lower_bounds: Any = None):
        super().__init__()
        self.learning_rate = checked_positive(learning_rate, "learning_rate")
        self.gamma = checked_nonnegative(gamma, "gamma")
        self.lower_bounds = checked_numbers(lower_bounds, "lower_bounds")

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """xi, Adam's moments and steps, and the last logarithms of those seen, all (K,)."""
        checked_length(self.lower_bounds, "lower_bounds", num_tasks)
        for name in ("logits", "last", "seen"):
            setattr(self, name, self.add_variable(name, (num_tasks,), dtype=dtype))
        self.adam = Adam(self, num_tasks, dtype)

    def weigh(self, losses: Any, present: Any) -> Any:
        """z / D over its sum, after xi has learned what the last step did."""
        distances, present = above(losses, present, self.lower_bounds)
        z = softmax(ops.cast(self._learn(ops.log(distances), present), losses.dtype), present)
        inverse = z / distances
        total = ops.sum(inverse)
        return inverse / ops.where(total > 0, total, ops.ones_like(total))

    def _learn(self, logs, present):
        """One step of Adam on xi for the tasks seen before and now; returns xi."""
        logs = ops.cast(ops.stop_gradient(logs), self.last.dtype)
        xi, last = ops.convert_to_tensor(self.logits), ops.convert_to_tensor(self.last)
        moving = ops.logical_and(present, ops.convert_to_tensor(self.seen) > 0)
        delta, z = ops.where(moving, last - logs, ops.zeros_like(logs)), softmax(xi, moving)
        gradient = z * (delta - ops.sum(z * delta)) + self.gamma * xi
        xi = xi - self.learning_rate * self.adam.step(gradient, moving)
        self.logits.assign(xi)
        self.last.assign(ops.where(present, logs, last))
        self.seen.assign(ops.where(present, ops.ones_like(logs), self.seen.value))
        return xi

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            "learning_rate": self.learning_rate,
            "gamma": self.gamma,
            "lower_bounds": self.lower_bounds,
        }
