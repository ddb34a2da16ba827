"""RadialBasis: how far each pair of points is apart, as a smooth histogram."""

from typing import Any

import keras
import numpy as np
from keras import ops

from mtl_keras.checks import checked_count, checked_positive


@keras.saving.register_keras_serializable(package="mtl_keras")
class RadialBasis(keras.layers.Layer):
    """`g_k(i, j) = exp(-(|r_i - r_j| - c_k)^2 / (2 s^2))`, and 0 for i = j.

    The centres c_k lie evenly from 0 to the cutoff, s is the space between them. Of positions it
    keeps the distances alone, so that what reads them is blind to rotation and translation.

    Args:
        num_basis: number of centres, 2 or more.
        cutoff: the last centre, in the unit of the positions. What is a few spaces further
            apart is told from nothing no more.

    Call arguments:
        positions: (batch, points, axes).
        mask: (batch, points), False where there is no point: 0 for pairs with it. Keras fills it
            in.

    Output shape:
        (batch, points, num_basis, points): of point i, centre k, and the other point j.

    Raises:
        ValueError: for fewer centres, or a cutoff that is not above 0.

    Example:

    >>> layer = mtl_keras.layers.RadialBasis(num_basis=3, cutoff=2.0)
    >>> apart = layer(np.array([[[0.0, 0.0], [0.0, 1.0]]], "float32"))
    >>> keras.ops.convert_to_numpy(apart)[0, 0, :, 1].astype("float64").round(2).tolist()
    [0.61, 1.0, 0.61]

    Reference:
        Schuett et al., 2017, SchNet: A Continuous-Filter Convolutional Neural Network for
        Modeling Quantum Interactions, section 4.2 (with centres 0.1 angstrom apart and a wider
        Gaussian).
    """

    def __init__(self, num_basis: int = 20, cutoff: float = 8.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_basis = checked_count(num_basis, "num_basis", minimum=2)
        self.cutoff = checked_positive(cutoff, "cutoff")
        self.supports_masking = True
        # Half precision would round what lies a hundredth apart to the same place.
        self.autocast = False

    def call(self, positions, mask=None):
        """The Gaussians of all distances."""
        dtype = keras.backend.result_type(positions.dtype, "float32")
        positions = ops.cast(positions, dtype)
        difference = ops.expand_dims(positions, 2) - ops.expand_dims(positions, 1)
        square = ops.sum(difference * difference, axis=-1)
        numbers = ops.arange(ops.shape(square)[-1], dtype="int32")
        pairs = ops.not_equal(ops.expand_dims(numbers, 1), ops.expand_dims(numbers, 0))[:, None]
        if mask is not None:
            pairs = ops.logical_and(pairs, ops.cast(mask, "bool")[:, None, None, :])
        # The square root has no gradient at 0, where a point is from itself.
        distance = ops.expand_dims(ops.sqrt(ops.maximum(square, 1e-12)), 2)
        centres, space = np.linspace(0.0, self.cutoff, self.num_basis, retstep=True)
        centres = ops.convert_to_tensor(centres[:, None], dtype)
        gaussians = ops.exp(-0.5 * ops.square((distance - centres) / space))
        # Not a product: a distance to no point may be NaN.
        return ops.cast(ops.where(pairs, gaussians, 0.0), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """(batch, points, num_basis, points)."""
        return (*input_shape[:2], self.num_basis, input_shape[1])

    def get_config(self):
        """All arguments."""
        return {**super().get_config(), "num_basis": self.num_basis, "cutoff": self.cutoff}
