"""Which task the next example comes from: what every strategy is."""

from collections.abc import Mapping

import keras
import numpy as np


class Strategy:
    """How often, and in which order, a mixture turns to each of its tasks.

    A subclass gives `probabilities`; the draws of a batch follow from them. Give keyword
    arguments of the constructor as attributes of the same name and `get_config` finds them.
    """

    arguments: tuple[str, ...] = ()
    needs_sizes = True

    def probabilities(self, sizes: Mapping[str, int], batch: int = 0) -> np.ndarray:
        """The chance of each task, in order, positive and of sum 1.

        Args:
            sizes: examples of each task; where `needs_sizes` is False, only the names count.
            batch: number of the batch that is drawn, for what changes while one trains.
        """
        raise NotImplementedError(f"{type(self).__name__} must have `probabilities`.")

    def draw(
        self,
        sizes: Mapping[str, int],
        batch: int,
        count: int,
        rng: np.random.Generator,
        stratified: bool = False,
    ) -> np.ndarray:
        """The tasks of one batch, as `count` positions in `sizes`.

        Args:
            sizes: examples of each task.
            batch: number of the batch.
            count: how many to draw.
            rng: where chance comes from.
            stratified: whether each task gets its expected number of draws, rounded up or down
                by chance, in place of independent draws.
        """
        ends = np.cumsum(self.probabilities(sizes, batch))
        # One offset for all: systematic sampling.
        points = (np.arange(count) + rng.random()) / count if stratified else rng.random(count)
        # Rounding may leave the last end below 1.
        drawn = np.minimum(np.searchsorted(ends, points, side="right"), len(ends) - 1)
        return rng.permutation(drawn) if stratified else drawn

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
