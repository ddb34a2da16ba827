"""SequencePooling: one vector of the positions that are not padding."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_choice


@keras.saving.register_keras_serializable(package="mtl_keras")
class SequencePooling(keras.layers.Layer):
    """`y = sum_t a_t x_t` over the positions that the mask keeps.

    "sum" takes them all, "mean" weighs them equally, "last" takes the last one, "attention"
    learns what counts:
    a = softmax(u . tanh(W x_t + b)). A sequence of padding alone gives zeros, where
    `keras.layers.GlobalAveragePooling1D` gives NaN.

    Args:
        kind: "sum", "mean", "last" or "attention".
        initializer: of W and u.

    Call arguments:
        inputs: (batch, length, channels).
        mask: (batch, length), False where padded. Keras fills it in.

    Output shape:
        (batch, channels).

    Raises:
        ValueError: for another kind.

    Example:

    >>> layer = mtl_keras.layers.SequencePooling("mean")
    >>> tuple(layer(np.ones((2, 5, 4), "float32")).shape)
    (2, 4)

    Reference:
        Yang et al., 2016, Hierarchical Attention Networks for Document Classification,
        equations 5 to 7, for the attention.
    """

    def __init__(self, kind: str = "mean", initializer: Any = "glorot_uniform", **kwargs: Any):
        super().__init__(**kwargs)
        self.kind = checked_choice(kind, "kind", ("sum", "mean", "last", "attention"))
        self.initializer = keras.initializers.get(initializer)
        self.supports_masking = True

    def build(self, input_shape):
        """W, b and u where there is attention."""
        if self.kind == "attention":
            options = {"kernel_initializer": self.initializer, "dtype": self.dtype_policy}
            self.hidden = keras.layers.Dense(
                input_shape[-1], activation="tanh", name="hidden", **options
            )
            self.hidden.build(input_shape)
            self.score = keras.layers.Dense(1, use_bias=False, name="score", **options)
            self.score.build(input_shape)

    def call(self, inputs, mask=None):
        """The weighted sum."""
        # Half precision counts to 256 or 2048.
        dtype = keras.backend.result_type(inputs.dtype, "float32")
        kept = ops.ones_like(inputs[..., 0]) if mask is None else mask
        weights = self._weights(inputs, ops.cast(kept, dtype))
        return ops.sum(ops.expand_dims(ops.cast(weights, inputs.dtype), -1) * inputs, axis=1)

    def _weights(self, inputs, kept):
        if self.kind == "sum":
            return kept
        if self.kind == "last":
            # Of the positions kept, the one with none behind it.
            behind = ops.flip(ops.cumsum(ops.flip(kept, 1), axis=1), 1) - kept
            return ops.where(ops.equal(behind, 0), kept, 0.0)
        if self.kind == "attention":
            scores = ops.cast(ops.squeeze(self.score(self.hidden(inputs)), -1), kept.dtype)
            # What is masked must not be the largest one, which all are measured by.
            scores = ops.where(kept > 0, scores, ops.min(scores, axis=1, keepdims=True))
            kept = kept * ops.exp(scores - ops.max(scores, axis=1, keepdims=True))
        return ops.divide_no_nan(kept, ops.sum(kept, axis=1, keepdims=True))

    def compute_mask(self, inputs, previous_mask=None):
        """None: there are no positions left."""
        return None

    def compute_output_shape(self, input_shape):
        """(batch, channels)."""
        return (input_shape[0], input_shape[-1])

    def get_config(self):
        """All arguments."""
        return {
            **super().get_config(),
            "kind": self.kind,
            "initializer": keras.initializers.serialize(self.initializer),
        }
