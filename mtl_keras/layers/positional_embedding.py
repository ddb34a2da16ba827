"""PositionalEmbedding: token vectors that say where they stand."""

from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="mtl_keras")
class PositionalEmbedding(keras.layers.Embedding):
    """`keras.layers.Embedding`, plus fixed waves over the positions, for any length.

    `y_t = sqrt(width) E[id_t] + p_t`, where entry 2i of p_t is sin(t / 10000^(2i / width)) and
    entry 2i + 1 the cosine of the same. Nothing is learned about positions, so that longer texts
    than those of the training can be read.

    Args:
        input_dim: number of token ids.
        output_dim: width of the vectors, an even number.
        kwargs: further arguments of `keras.layers.Embedding`, such as `mask_zero`.

    Call arguments:
        inputs: (batch, length) token ids.

    Output shape:
        (batch, length, output_dim).

    Raises:
        ValueError: for an odd width.

    Example:

    >>> layer = mtl_keras.layers.PositionalEmbedding(20, 6)
    >>> tuple(layer(np.array([[3, 1, 2]])).shape)
    (1, 3, 6)

    Reference:
        Vaswani et al., 2017, Attention Is All You Need, sections 3.4 and 3.5.
    """

    def __init__(self, input_dim: int, output_dim: int, **kwargs: Any):
        if output_dim % 2:
            raise ValueError(f"`output_dim` must be even. Received: output_dim={output_dim}")
        super().__init__(input_dim, output_dim, **kwargs)

    def call(self, inputs):
        """Scaled vectors and waves."""
        vectors = super().call(inputs)
        halves = np.arange(0, self.output_dim, 2)
        rates = ops.convert_to_tensor(10_000.0 ** (-halves / self.output_dim), dtype="float32")
        # Not from the static shape, which may be open.
        positions = ops.cumsum(ops.ones_like(inputs[:1], dtype="float32"), axis=-1) - 1
        angles = ops.expand_dims(positions, -1) * rates
        waves = ops.stack([ops.sin(angles), ops.cos(angles)], axis=-1)
        waves = ops.reshape(waves, (1, -1, self.output_dim))
        return vectors * float(np.sqrt(self.output_dim)) + ops.cast(waves, vectors.dtype)
