"""MaskedConv1D: a convolution over a sequence for which padding is as good as absent."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mtl_keras")
class MaskedConv1D(keras.layers.Conv1D):
    """`keras.layers.Conv1D` that reads masked positions as zeros and keeps the mask.

    Beyond the end of a sequence a convolution reads zeros; with the mask it reads them at padded
    positions too, so that no output depends on how far a text was padded.

    Args:
        filters: width of the output.
        kernel_size: positions read at once.
        padding: "same", or "causal": position t reads none after t.
        kwargs: further arguments of `keras.layers.Conv1D`; `strides` stay 1.

    Call arguments:
        inputs: (batch, length, channels).
        mask: (batch, length), False where padded. Keras fills it in.

    Output shape:
        (batch, length, filters).

    Raises:
        ValueError: for another padding, or strides other than 1, with which positions and mask
            no longer agree.

    Example:

    >>> layer = mtl_keras.layers.MaskedConv1D(8, kernel_size=3)
    >>> tuple(layer(np.ones((2, 5, 4), "float32")).shape)
    (2, 5, 8)

    Reference:
        Collobert & Weston, 2008, A Unified Architecture for Natural Language Processing: Deep
        Neural Networks with Multitask Learning (convolutions over the words of a sentence).
    """

    def __init__(self, filters: int, kernel_size: int, padding: str = "same", **kwargs: Any):
        if padding not in ("same", "causal"):
            raise ValueError(f"`padding` must be 'same' or 'causal'. Received: padding={padding!r}")
        super().__init__(filters, kernel_size, padding=padding, **kwargs)
        if self.strides != (1,):
            raise ValueError(f"`strides` must be 1. Received: strides={self.strides}")
        self.supports_masking = True

    def call(self, inputs, mask=None):
        """The convolution of what is not masked."""
        if mask is not None:
            inputs = ops.where(ops.expand_dims(mask, -1), inputs, ops.zeros_like(inputs))
        return super().call(inputs)
