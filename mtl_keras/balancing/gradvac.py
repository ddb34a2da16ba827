"""GradVac: gradients are turned until they agree as much as they usually do."""

from typing import Any

from keras import ops

from mtl_keras.balancing import orders, solvers
from mtl_keras.balancing.base import GramianBalancer
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_between, checked_count
from mtl_keras.precision import wide

# A target nearer to 1 would take more than 700 times the other gradient to reach.
LARGEST = 1 - 1e-6


@rule("gradvac", source="Wang et al., 2021, Gradient Vaccine, arXiv:2010.05874")
class GradVac(GramianBalancer):
    """d = sum_i g_i', where g_i' starts as g_i and meets all g_j, j != i, in random order: where
    their cosine c is below the target t_ij, it becomes t_ij by g_i' <- g_i' + a g_j with
    a = |g_i'| (t sqrt(1 - c^2) - c sqrt(1 - t^2)) / (|g_j| sqrt(1 - t^2)), and then
    t_ij <- (1 - beta) t_ij + beta c (Algorithm 1).

    With targets of 0, as at the start, it is PCGrad. The paper has a target for each layer;
    here it is one for all shared variables. The paper moves each target in each step, as here;
    one peer only where the gradient was turned. Targets stay below 1 - 1e-6: parallel gradients
    for thousands of steps would otherwise ask for infinite ones. A g_i' that has become zero
    has no cosine: it stays, and so does its target. A zero row takes no part, and its targets
    wait; K = 1 has weight 1.

    Args:
        beta: how fast targets follow, from 0 to 1. 0.01 as in the paper; code has 0.5.
        seed: of the orders. None takes one at random.

    Raises:
        ValueError: for a beta outside of that.

    Example:

    >>> import numpy as np
    >>> rows = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
    >>> np.round(GradVac().weights(rows @ rows.T), 4).tolist()
    [2.2222, 1.5789]
    """

    def __init__(self, beta: float = 0.01, seed: int | None = None):
        super().__init__()
        self.beta = checked_between(beta, "beta", 0, 1)
        self.seed = None if seed is None else checked_count(seed, "seed", minimum=0)

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """Targets, and the generator."""
        self.targets = self.add_variable("targets", (num_tasks, num_tasks), dtype=dtype)
        self.draws = self.add_draws(self.seed)

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """All g_i' at once, as coefficients of unit rows; one step of their orders at a time."""
        cosines, norms = solvers.unit_rows(gramian, present)
        count = norms.shape[0]
        both = present[:, None] & present[None, :]
        kept = wide(ops.convert_to_tensor(self.targets))
        targets = ops.where(both, ops.clip(kept, -LARGEST, LARGEST), ops.zeros_like(kept))
        order = orders.drawn(count, self.draws)
        parts, seen = self._turned(cosines, targets, order)
        moved = (1 - self.beta) * kept + self.beta * seen
        self.targets.assign(ops.cast(ops.where(both, moved, kept), self.targets.dtype))
        return ops.sum(norms[:, None] * parts, axis=0) / norms

    def _turned(self, cosines, targets, order):
        """Coefficients of the g_i', and the cosines that they met (the targets for none)."""
        squares = 1 - targets**2
        slopes = 1 / ops.sqrt(ops.where(squares > 0, squares, ops.ones_like(squares)))
        longest = 1 / solvers.epsilon(targets)

        def meet(product, lengths, aim, slope):
            # What is orthogonal to g_j stays: the new length follows without a difference.
            longer = ops.sqrt(ops.relu(lengths**2 - product**2)) * slope
            turned = (product < aim * lengths) & (longer < longest)
            taken = ops.where(turned, aim * longer - product, 0.0)
            return taken, (ops.where(turned, longer, lengths),)

        start = (ops.ones_like(targets[0]),)
        parts, products, lengths = orders.encounters(cosines, order, meet, start, [targets, slopes])
        # Half the digits: the cosine of a gradient shorter than that would be of rounding.
        known = lengths > solvers.epsilon(targets) ** 0.5
        seen = ops.where(known, products / ops.where(known, lengths, 1.0), targets)
        return ops.eye(targets.shape[0], dtype=targets.dtype) + parts, seen

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"beta": self.beta, "seed": self.seed}
