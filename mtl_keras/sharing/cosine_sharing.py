"""CosineSharing: towers point the same way, at any length."""

import itertools
from typing import Any

import keras
from keras import ops

from mtl_keras.sharing.base import Sharing


@keras.saving.register_keras_serializable(package="mtl_keras")
class CosineSharing(Sharing):
    """strength * sum_{s<t} (1 - cos(w_s, w_t)), the weights at a path as one vector.

    It says nothing of the weights' scale, which may then differ from task to task: for
    networks whose layers are normalised, or tasks whose labels have other units. The cosine
    with a vector of zeros is 0, with gradient 0.

    Args:
        strength: see `Sharing`.
        options: further arguments of `Sharing`.

    Raises:
        ValueError: as `Sharing`.

    Example:

    >>> towers = np.array([1.0, 0.0]), np.array([5.0, 0.0]), np.array([0.0, 2.0])
    >>> round(float(sharing.CosineSharing().penalty(towers)), 6)
    2.0
    """

    def __init__(self, strength: Any = 1e-3, **options: Any):
        super().__init__(strength, **options)

    def penalty(self, weights: tuple) -> Any:
        """One less the cosine, over all pairs."""
        squares = [ops.sum(ops.square(w)) for w in weights]
        # A tensor also without a pair.
        total = 0.0 * squares[0]
        for s, t in itertools.combinations(range(len(weights)), 2):
            # Each length by itself: their product may overflow.
            lengths = [ops.sqrt(ops.where(squares[i] > 0, squares[i], 1.0)) for i in (s, t)]
            total += 1 - ops.sum(weights[s] * weights[t]) / lengths[0] / lengths[1]
        return total
