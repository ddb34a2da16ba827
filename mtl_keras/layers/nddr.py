"""NDDR: neural discriminative dimensionality reduction between towers."""

from typing import Any

import keras
import numpy as np
from keras import ops

from mtl_keras.checks import checked_between
from mtl_keras.layers.towers import (
    checked_towers,
    joint_mask,
    mask_over_positions,
    own_and_others,
    tower_shape,
)


@keras.saving.register_keras_serializable(package="mtl_keras")
class NDDR(keras.layers.Layer):
    """y_k = relu(BN(W_k [x_1; ...; x_K])): each tower goes on with its own reduction of all.

    The towers are concatenated along the channels and every task projects them back to C
    channels by a 1 x 1 convolution. It starts as a weighted sum, W_k = [b I, ..., a I, ...,
    b I] with a for the task's own features and b = (1 - a) / (K - 1) for the others'. Any
    channel can read any other, for K^2 C^2 weights; `CrossStitch` has K^2 C.

    Args:
        initial: a, from 0 to 1; default 0.9. One tower alone starts with 1.
        batch_normalization: whether the projections are normalised; default `True`.
        activation: of the output; default "relu".
        kernel_regularizer: of the projections; the paper decays them. Default none.

    Call arguments:
        features: a tuple of K tensors of one shape (batch, ..., channels).
        mask: a tuple of K masks or `None`; masked positions enter no batch statistics.

    Output shape:
        A tuple of K shapes, that of the towers.

    Raises:
        ValueError: for a share outside 0 to 1, and for towers that differ in shape or number.

    Example:

    >>> layer = mtl_keras.layers.NDDR(initial=0.75, batch_normalization=False)
    >>> first, second = layer((np.ones((2, 3)), np.zeros((2, 3))))
    >>> first.numpy()[0].tolist(), second.numpy()[0].tolist()
    ([0.75, 0.75, 0.75], [0.25, 0.25, 0.25])

    Reference:
        Gao et al., 2019, NDDR-CNN: Layerwise Feature Fusing in Multi-Task CNNs by Neural
        Discriminative Dimensionality Reduction, section 3.
    """

    def __init__(
        self,
        initial: float = 0.9,
        batch_normalization: bool = True,
        activation: Any = "relu",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.initial = checked_between(initial, "initial", 0, 1)
        self.batch_normalization = bool(batch_normalization)
        self.activation = keras.activations.get(activation)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True
        self.normalization = None
        if self.batch_normalization:
            self.normalization = keras.layers.BatchNormalization(
                name="normalization", dtype=self.dtype_policy
            )

    def build(self, features_shape: tuple) -> None:
        """Makes the projections, (K channels, K, channels), and the normalisation of all."""
        self.count = len(features_shape)
        shape = tower_shape(features_shape, "features")
        start = np.kron(own_and_others(self.count, self.initial), np.eye(shape[-1]))
        kernel_shape = (self.count * shape[-1], self.count, shape[-1])
        self.kernel = self.add_weight(
            name="kernel",
            shape=kernel_shape,
            initializer=keras.initializers.Constant(start.T.reshape(kernel_shape)),
            regularizer=self.kernel_regularizer,
        )
        if self.normalization is not None:
            self.normalization.build((*shape[:-1], self.count * shape[-1]))

    def call(self, features: Any, mask: Any = None, training: bool | None = None) -> tuple:
        """Projections of all towers, one a task."""
        everything = ops.concatenate(checked_towers(features, self.count, "features"), axis=-1)
        # One product for all tasks.
        width = self.kernel.shape[0]
        reduced = ops.matmul(everything, ops.reshape(self.kernel, (width, width)))
        if self.normalization is not None:
            mask = mask_over_positions(joint_mask(mask), reduced)
            reduced = self.normalization(reduced, training=training, mask=mask)
        return tuple(ops.split(self.activation(reduced), self.count, axis=-1))

    def compute_mask(self, features: Any, previous_mask: Any = None) -> tuple:
        """Valid where all towers are."""
        return (joint_mask(previous_mask),) * self.count

    def compute_output_shape(self, features_shape: tuple) -> tuple:
        """The shapes of the towers."""
        return tuple(tuple(shape) for shape in features_shape)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "initial": self.initial,
            "batch_normalization": self.batch_normalization,
            "activation": keras.activations.serialize(self.activation),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
