"""ContinuousFilterConvolution: each point reads the others, through weights of the distance."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mtl_keras")
class ContinuousFilterConvolution(keras.layers.Layer):
    """`y_if = sum_j x_jf sum_k g_k(i, j) w_kf`: a convolution over points that lie anywhere.

    Where a convolution has a weight a pixel, this has one a radial function: the filter is a
    function of the distance, a learned mix of those in the basis, one for each channel. Reordering
    the points reorders the output; masked ones are as good as absent.

    Args:
        initializer: of w, (num_basis, channels).

    Call arguments:
        features: x, (batch, points, channels).
        basis: g, (batch, points, num_basis, points), see `RadialBasis`.
        features_mask: (batch, points), False where there is no point. Keras fills it
            in.

    Output shape:
        That of the features.

    Example:

    >>> basis = mtl_keras.layers.RadialBasis(num_basis=4)(np.zeros((2, 5, 3), "float32"))
    >>> layer = mtl_keras.layers.ContinuousFilterConvolution()
    >>> tuple(layer(np.ones((2, 5, 8), "float32"), basis).shape)
    (2, 5, 8)

    Reference:
        Schuett et al., 2017, SchNet: A Continuous-Filter Convolutional Neural Network for
        Modeling Quantum Interactions, equation 2; the filter is linear in the basis, as in
        Schuett et al., 2021, Equivariant Message Passing (PaiNN), where it is a network there.
    """

    def __init__(self, initializer: Any = "glorot_uniform", **kwargs: Any):
        super().__init__(**kwargs)
        self.initializer = keras.initializers.get(initializer)
        self.supports_masking = True

    def build(self, features_shape, basis_shape):
        """w."""
        self.kernel = self.add_weight(
            (basis_shape[-2], features_shape[-1]), initializer=self.initializer, name="kernel"
        )

    def call(self, features, basis, features_mask=None):
        """The convolution of what is not masked."""
        if features_mask is not None:
            kept = ops.expand_dims(features_mask, -1)
            features = ops.where(kept, features, ops.zeros_like(features))
        batch, points, channels = ops.shape(features)
        # One product of matrices for all functions, where a filter for each pair would be as
        # large as all pairs times all channels.
        num_basis = self.kernel.shape[0]
        flat = ops.reshape(basis, (batch, points * num_basis, points))
        seen = ops.reshape(ops.matmul(flat, features), (batch, points, num_basis, channels))
        return ops.sum(seen * ops.cast(self.kernel, seen.dtype), axis=2)

    def compute_output_shape(self, features_shape, basis_shape):
        """That of the features."""
        return features_shape

    def get_config(self):
        """All arguments."""
        return {
            **super().get_config(),
            "initializer": keras.initializers.serialize(self.initializer),
        }
