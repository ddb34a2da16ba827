"""GradDrop: each entry of the gradient keeps one sign."""

from typing import Any

import keras
from keras import ops

from mtl_keras.balancing.base import JacobianBalancer
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_between, checked_count, checked_length


@rule("graddrop", source="Chen et al., 2020, Just Pick a Sign, arXiv:2010.06808")
class GradDrop(JacobianBalancer):
    """Where tasks disagree on a sign, one of the signs is drawn and the others are dropped.

    For each entry: P = (1 + sum_k g_k / sum_k |g_k|) / 2 is the purity of the positive sign and
    U ~ Uniform(0, 1); the gradients that stay are the positive ones if P > U, the negative ones
    if P < U. d = sum_k (leak_k + (1 - leak_k) M_k) g_k with the mask M (Algorithm 1, lines 10
    to 15, with f the identity).

    The paper drops at one activation, where signs of the activations enter and the batch is
    summed; here the rows are dropped as they come, those of parameters too. An entry that is 0
    in all rows stays 0. A zero row takes no part; K = 1 returns the gradient.

    Args:
        leak: share of what is dropped that passes all the same, from 0 to 1; a list has one a
            task. 0.
        seed: of the draws. None takes one at random.

    Raises:
        ValueError: for a leak outside 0 to 1, or a list of another length than the tasks.

    Example:

    >>> import numpy as np
    >>> rows = np.array([[1.0, 2.0, -3.0], [4.0, 1.0, 0.0]])
    >>> np.asarray(GradDrop(seed=0).direction(rows)).tolist()  # No sign is in dispute.
    [5.0, 3.0, -3.0]
    """

    def __init__(self, leak: float | list[float] = 0.0, seed: int | None = None):
        super().__init__()
        leaks = leak if isinstance(leak, (list, tuple)) else [leak]
        leaks = [checked_between(value, "leak", 0, 1) for value in leaks]
        self.leak = leaks if isinstance(leak, (list, tuple)) else leaks[0]
        self.seed = None if seed is None else checked_count(seed, "seed", minimum=0)

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """Checks how many leaks there are; makes the generator."""
        self.draws = self.add_draws(self.seed)
        if isinstance(self.leak, list):
            checked_length(self.leak, "leak", num_tasks)

    def aggregate(self, jacobian: Any, present: Any, losses: Any) -> Any:
        """The sum of what the mask leaves."""
        size = ops.sum(ops.abs(jacobian), axis=0)
        total = ops.sum(jacobian, axis=0)
        purity = (1 + total / ops.where(size > 0, size, ops.ones_like(size))) / 2
        drawn = keras.random.uniform(ops.shape(purity), dtype="float32", seed=self.draws)
        drawn = ops.cast(drawn, purity.dtype)
        stays = ops.where(jacobian > 0, purity > drawn, purity < drawn)
        leak = ops.reshape(ops.cast(ops.convert_to_tensor(self.leak), jacobian.dtype), (-1, 1))
        return ops.sum(ops.where(stays, jacobian, leak * jacobian), axis=0)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"leak": self.leak, "seed": self.seed}
