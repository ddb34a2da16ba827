"""TransformerBlock: self-attention and a small network at every position."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_count


@keras.saving.register_keras_serializable(package="mtl_keras")
class TransformerBlock(keras.layers.Layer):
    """One block of a Transformer, with the norms after the sums as in the paper.

    `h = norm(x + attention(x))`, `y = norm(h + W2 activation(W1 h + b1) + b2)`. Masked positions
    are not attended to; what stands at them is not meant to be read.

    Args:
        num_heads: attention heads; they divide the width of the input.
        units: width of the hidden layer at each position.
        causal: whether position t attends to none after t.
        activation: of the hidden layer.

    Call arguments:
        inputs: (batch, length, channels).
        mask: (batch, length), False where padded. Keras fills it in.

    Output shape:
        That of the input.

    Raises:
        ValueError: for counts below 1, and channels that the heads do not divide.

    Example:

    >>> layer = mtl_keras.layers.TransformerBlock(num_heads=2, units=16)
    >>> tuple(layer(np.ones((2, 5, 8), "float32")).shape)
    (2, 5, 8)

    Reference:
        Vaswani et al., 2017, Attention Is All You Need, section 3.
    """

    def __init__(
        self,
        num_heads: int,
        units: int,
        causal: bool = False,
        activation: Any = "relu",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_heads = checked_count(num_heads, "num_heads")
        self.units = checked_count(units, "units")
        self.causal = bool(causal)
        self.activation = keras.activations.get(activation)
        self.supports_masking = True

    def build(self, input_shape):
        """Attention, hidden layer, output layer, two norms."""
        width = input_shape[-1]
        if width % self.num_heads:
            raise ValueError(
                f"`num_heads` must divide the width of the input, {width}. "
                f"Received: num_heads={self.num_heads}"
            )
        options = {"dtype": self.dtype_policy}
        self.attention = keras.layers.MultiHeadAttention(
            self.num_heads, width // self.num_heads, name="attention", **options
        )
        self.attention.build(input_shape, input_shape)
        self.attention_norm = keras.layers.LayerNormalization(name="attention_norm", **options)
        self.attention_norm.build(input_shape)
        self.hidden = keras.layers.Dense(
            self.units, activation=self.activation, name="hidden", **options
        )
        self.hidden.build(input_shape)
        self.out = keras.layers.Dense(width, name="out", **options)
        self.out.build((*input_shape[:-1], self.units))
        self.out_norm = keras.layers.LayerNormalization(name="out_norm", **options)
        self.out_norm.build(input_shape)

    def call(self, inputs, mask=None):
        """The two steps."""
        # Keras's attention takes the mask off the tensor it reads, which others may read too.
        own = ops.copy(inputs)
        attended = self.attention(own, own, attention_mask=self._allowed(inputs, mask))
        middle = self.attention_norm(inputs + attended)
        return self.out_norm(middle + self.out(self.hidden(middle)))

    def _allowed(self, inputs, mask):
        # (1 or batch, length, length): which position reads which; None for all.
        positions = ops.cumsum(ops.ones_like(inputs[:1, :, 0], dtype="int32"), axis=1)
        reader, read = ops.expand_dims(positions, 2), ops.expand_dims(positions, 1)
        allowed = None
        if self.causal:
            allowed = ops.greater_equal(reader, read)
        if mask is not None:
            # Each reads itself at least: the softmax over nothing is undefined.
            kept = ops.logical_or(ops.expand_dims(mask, 1), ops.equal(reader, read))
            allowed = kept if allowed is None else ops.logical_and(allowed, kept)
        return allowed

    def compute_output_shape(self, input_shape):
        """That of the input."""
        return input_shape

    def get_config(self):
        """All arguments."""
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "units": self.units,
            "causal": self.causal,
            "activation": keras.activations.serialize(self.activation),
        }
