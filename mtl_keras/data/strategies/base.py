"""Which task the next example comes from: what every strategy is."""

from collections.abc import Mapping

import keras
import numpy as np


class Strategy:
    """How often, and in which order, a mixture turns to each of its tasks.

    A subclass gives `phases`; the draws follow from them. Give keyword arguments of the
    constructor as attributes of the same name and `get_config` finds them.

    Attributes:
        needs_sizes: whether `phases` reads the sizes, and not the names alone.
        in_turn: whether the tasks come one after the other, without chance.

    Example:

    >>> class LargestHalf(Strategy):
    ...     def phases(self, sizes):
    ...         largest = max(sizes.values())
    ...         return {0: shares(np.array([1.0 + (n == largest) for n in sizes.values()]))}
    >>> LargestHalf().probabilities({"a": 5, "b": 90, "c": 5})
    array([0.25, 0.5 , 0.25])
    """

    arguments: tuple[str, ...] = ()
    needs_sizes = True
    in_turn = False

    def phases(self, sizes: Mapping[str, int]) -> Mapping[int, np.ndarray]:
        """The chances, by the number of the batch from which on they hold; the first is 0.

        Args:
            sizes: examples of each task.

        Returns:
            For each phase the chance of each task, in order, positive and of sum 1.
        """
        raise NotImplementedError(f"{type(self).__name__} must have `phases`.")

    def probabilities(self, sizes: Mapping[str, int], batch: int = 0) -> np.ndarray:
        """The chance of each task in the batch of this number, counted from 0."""
        phases = self.phases(sizes)
        return phases[max(begin for begin in phases if begin <= batch)]

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {name: getattr(self, name) for name in self.arguments}

    @classmethod
    def from_config(cls, config: dict) -> "Strategy":
        """The inverse of `get_config`."""
        return cls(**config)

    def __repr__(self):
        return (
            f"{type(self).__name__}({', '.join(f'{k}={v}' for k, v in self.get_config().items())})"
        )


def register(cls: type[Strategy]) -> type[Strategy]:
    """Decorator: makes a strategy known to Keras's saving."""
    return keras.saving.register_keras_serializable(package="mtl_keras")(cls)


def shares(amounts: np.ndarray) -> np.ndarray:
    """Amounts as parts of their sum."""
    return amounts / amounts.sum()
