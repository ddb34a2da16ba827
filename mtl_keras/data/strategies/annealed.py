"""Annealed: from proportional towards equal sampling, epoch by epoch."""

from collections.abc import Mapping

import numpy as np

from mtl_keras.checks import checked_count
from mtl_keras.data.strategies.base import Strategy, register
from mtl_keras.data.strategies.temperature import Temperature


@register
class Annealed(Strategy):
    """p_k in proportion to N_k^a, with a = 1 - 0.8 (e - 1) / (E - 1) in epoch e of E.

    Sampling starts in proportion to size and ends nearly equal, when what the large tasks teach
    has been learned and interference would hurt the small ones. After epoch E it stays as it is.

    Args:
        epochs: E, the epochs of the whole training.
        batches_per_epoch: `steps_per_epoch` of the fit.

    Raises:
        ValueError: for less than one epoch or batch.

    Example:

    >>> strategy = Annealed(epochs=5, batches_per_epoch=100)
    >>> strategy.exponent(0), strategy.exponent(499)
    (1.0, 0.19999999999999996)

    Reference:
        Stickland & Murray 2019, "BERT and PALs", section 3.4 (annealed sampling),
        arXiv:1902.02671.
    """

    arguments = ("epochs", "batches_per_epoch")

    def __init__(self, epochs: int, batches_per_epoch: int):
        self.epochs = checked_count(epochs, "epochs")
        self.batches_per_epoch = checked_count(batches_per_epoch, "batches_per_epoch")

    def exponent(self, batch: int) -> float:
        """a for the batch of this number, counted from 0 over all epochs."""
        # From 0 on: the paper's e less 1.
        epoch = min(batch // self.batches_per_epoch, self.epochs - 1)
        return 1 - 0.8 * epoch / max(self.epochs - 1, 1)

    def probabilities(self, sizes: Mapping[str, int], batch: int = 0) -> np.ndarray:
        """N^a, normalised."""
        return Temperature(1 / self.exponent(batch)).probabilities(sizes)
