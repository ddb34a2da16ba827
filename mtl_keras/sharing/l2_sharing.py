"""L2Sharing: towers are drawn to each other, or to their mean."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_choice
from mtl_keras.sharing.base import Sharing, checked_strength, saved_strength, strength_at


@keras.saving.register_keras_serializable(package="mtl_keras")
class L2Sharing(Sharing):
    """strength * sum_{s<t} |w_s - w_t|^2, or strength * sum_t |w_t - mean|^2.

    With two towers the first form is twice the second; with K towers it is K times. `decay`
    times |w_t|^2, of every tower, pulls them to zero too, independently: prior knowledge that
    tasks are alike and that weights are small are different things.

    By its gradient a strength much above the inverse of the learning rate makes plain SGD
    diverge; with `proximal=True` any strength is stable, and a very large one makes the towers
    equal.

    Args:
        strength: see `Sharing`.
        to: "each_other" or "mean".
        decay: strength of the pull to zero, a number or a schedule; default 0.
        options: further arguments of `Sharing`.

    Raises:
        ValueError: for another `to`, and as `Sharing`.

    Example:

    >>> pair = np.array([1.0, 2.0]), np.array([1.0, 4.0])
    >>> float(sharing.L2Sharing().penalty(pair)), float(sharing.L2Sharing(to="mean").penalty(pair))
    (4.0, 2.0)

    Reference:
        Duong et al., 2015, Low Resource Dependency Parsing: Cross-lingual Parameter Sharing in
        a Neural Network Parser (each other); Evgeniou, Pontil, 2004, Regularized Multi-Task
        Learning (the mean).
    """

    has_proximal_step = True

    def __init__(
        self, strength: Any = 1e-3, *, to: str = "each_other", decay: Any = 0.0, **options: Any
    ):
        super().__init__(strength, **options)
        self.to = checked_choice(to, "to", ("each_other", "mean"))
        self.decay = checked_strength(decay, "decay")

    def penalty(self, weights: tuple) -> Any:
        """The squared distances of K tensors."""
        # The mean is the minimum: the derivative along it is 0, and need not be computed.
        mean = ops.stop_gradient(sum(weights) / len(weights))
        return self._pairs(weights) * sum(ops.sum(ops.square(w - mean)) for w in weights)

    def proximal_step(self, weights: tuple, amount: Any, decay_amount: Any = 0.0) -> tuple:
        """The mean shrinks by the decay, the distances to it by both."""
        mean = sum(weights) / len(weights)
        kept = 1 / (1 + 2 * decay_amount)
        near = 1 / (1 + 2 * decay_amount + 2 * self._pairs(weights) * amount)
        return tuple(kept * mean + near * (w - mean) for w in weights)

    def value(self, weights: tuple, factor: float, step: Any) -> Any:
        """Both pulls."""
        value = super().value(weights, factor, step)
        if self.decay == 0:
            return value
        squares = sum(ops.sum(ops.square(w)) for w in weights)
        return value + factor * strength_at(self.decay, step) * squares

    def updated(self, weights: tuple, factor: float, step: Any, rate: Any) -> tuple:
        """K tensors after the step of both pulls."""
        amounts = [rate * factor * strength_at(s, step) for s in (self.strength, self.decay)]
        return self.proximal_step(weights, *amounts)

    def _pairs(self, weights):
        return len(weights) if self.to == "each_other" else 1

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {**super().get_config(), "to": self.to, "decay": saved_strength(self.decay)}
