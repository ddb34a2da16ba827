"""Random loss weighting: new random weights at each step."""

from typing import Any

import keras
from keras import ops

from mtl_keras.balancing.base import LossBalancer
from mtl_keras.balancing.present import number, shares, softmax
from mtl_keras.balancing.registry import rule
from mtl_keras.checks import checked_choice, checked_count


@rule("rlw", source="Lin et al., 2022, Reasonable Effectiveness of Random Weighting")
class RandomLossWeighting(LossBalancer):
    """w = n z, z drawn anew at each step from a distribution over shares of 1.

    A litmus test: a rule that does not beat it has learned nothing from the losses. Weights
    sum to n, the number of tasks that are present (the paper: to 1), so that their expectation
    is that of the sum. A draw gives every task its part, and those that are present divide the
    weight: of an absent task, nothing is seen but the next draw.

    - "normal": softmax of N(0, 1), the paper's.
    - "uniform": softmax of U(0, 1), nearly equal weights.
    - "dirichlet": flat on the simplex (the first version's code also took its softmax).
    - "one_hot": one task at a time (constrained Bernoulli).

    Losses may be negative.

    Args:
        distribution: one of these. Defaults to "normal".
        seed: of the draws, which go on with the state. Defaults to a random one.

    Raises:
        ValueError: for another distribution, or a seed that is not a whole number.

    Example:

    >>> rule = RandomLossWeighting(seed=1)
    >>> round(float(np.sum(rule.weights([1.0, 1.0, 1.0]))), 4)
    3.0
    """

    def __init__(self, distribution: str = "normal", seed: int | None = None):
        super().__init__()
        self.distribution = checked_choice(distribution, "distribution", tuple(_DRAWS))
        self.seed = None if seed is None else checked_count(seed, "seed", minimum=0)

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """The place in the sequence of random numbers."""
        self.draws = self.add_draws(self.seed)

    def weigh(self, losses: Any, present: Any) -> Any:
        """n times random shares."""
        dtype = keras.backend.standardize_dtype(losses.dtype)
        drawn = _DRAWS[self.distribution](present, dtype, self.draws)
        return number(present, losses.dtype) * drawn

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {"distribution": self.distribution, "seed": self.seed}


def _normal(present, dtype, seed):
    return softmax(keras.random.normal(tuple(present.shape), dtype=dtype, seed=seed), present)


def _uniform(present, dtype, seed):
    return softmax(keras.random.uniform(tuple(present.shape), dtype=dtype, seed=seed), present)


def _dirichlet(present, dtype, seed):
    # Exponential numbers over their sum; the logarithm never sees 0.
    draws = keras.random.uniform(tuple(present.shape), minval=1e-7, dtype=dtype, seed=seed)
    return shares(-ops.log(draws), present, dtype)


def _one_hot(present, dtype, seed):
    draws = keras.random.uniform(tuple(present.shape), dtype=dtype, seed=seed)
    chosen = ops.argmax(ops.where(present, draws, -1.0))
    return ops.one_hot(chosen, present.shape[0], dtype=dtype)


_DRAWS = {
    "normal": _normal,
    "uniform": _uniform,
    "dirichlet": _dirichlet,
    "one_hot": _one_hot,
}
