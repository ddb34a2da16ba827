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
    >>> strategy.probabilities({"a": 900, "b": 100}, batch=99).round(2).tolist()
    [0.9, 0.1]
    >>> strategy.probabilities({"a": 900, "b": 100}, batch=400).round(2).tolist()
    [0.61, 0.39]

    Reference:
        Stickland & Murray 2019, "BERT and PALs", section 3.4 (annealed sampling),
        arXiv:1902.02671.
    """

    arguments = ("epochs", "batches_per_epoch")

    def __init__(self, epochs: int, batches_per_epoch: int):
        self.epochs = checked_count(epochs, "epochs")
        self.batches_per_epoch = checked_count(batches_per_epoch, "batches_per_epoch")

    def phases(self, sizes: Mapping[str, int]) -> dict[int, np.ndarray]:
        """N^a, normalised, epoch by epoch."""
        # From 0 on: the paper's e less 1.
        exponents = {e: 1 - 0.8 * e / max(self.epochs - 1, 1) for e in range(self.epochs)}
        return {
            epoch * self.batches_per_epoch: Temperature(1 / a).probabilities(sizes)
            for epoch, a in exponents.items()
        }
