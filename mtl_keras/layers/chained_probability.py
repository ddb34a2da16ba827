"""ChainedProbability: the probability that all stages of a funnel are passed."""

import contextlib
import functools
from typing import Any

import keras
from keras import ops

from mtl_keras.layers.towers import checked_towers, joint_mask, tower_shape


@keras.saving.register_keras_serializable(package="mtl_keras")
class ChainedProbability(keras.layers.Layer):
    """P(all stages) = prod_k sigmoid(z_k), with z_k the logit of a stage given those before it.

    The product of two probabilities has the logit -log(e^-a + e^-b + e^(-a-b)). Like a sigmoid,
    the layer leaves it beside its output; where Keras reads it there, with TensorFlow, the
    cross-entropy is exact where probabilities round to 0 or 1. On the other backends it is
    clipped at 1e-7, as that of any sigmoid is.

    Call arguments:
        logits: a tuple with the logits of each stage, (batch, ..., channels) each, all alike.

    Output shape:
        (batch, ..., channels)

    Raises:
        ValueError: for one tensor instead of a tuple, and shapes that differ.

    Example:

    >>> chain = mtl_keras.layers.ChainedProbability()
    >>> click, conversion = np.zeros((1, 1)), np.zeros((1, 1))
    >>> float(chain((click, conversion))[0, 0])
    0.25

    Reference:
        Ma et al., 2018, Entire Space Multi-Task Model: An Effective Approach for Estimating
        Post-Click Conversion Rate, equation 2.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.supports_masking = True

    def build(self, logits_shape: tuple) -> None:
        """Checks the shapes."""
        tower_shape(logits_shape, "logits")
        self.num_stages = len(logits_shape)

    def call(self, logits: tuple) -> Any:
        """The product of the probabilities."""
        logits = checked_towers(logits, self.num_stages, "logits")
        product = functools.reduce(ops.multiply, map(ops.sigmoid, logits))
        # JAX's tensors take no attributes.
        with contextlib.suppress(AttributeError):
            product._keras_logits = functools.reduce(_logit_of_product, logits)
        return product

    def compute_mask(self, logits: tuple, previous_mask: Any = None) -> Any:
        """Where all stages are valid."""
        return joint_mask(previous_mask)

    def compute_output_shape(self, logits_shape: tuple) -> tuple:
        """That of one stage."""
        return tuple(logits_shape[0])


def _logit_of_product(first, second):
    return -ops.logsumexp(ops.stack([-first, -second, -first - second]), axis=0)
