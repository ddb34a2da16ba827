"""GradientReversal: forward nothing, backward the opposite."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_nonnegative


@keras.saving.register_keras_serializable(package="mtl_keras")
class GradientReversal(keras.layers.Layer):
    """y = x, with dy/dx = -scale: what comes before works against what comes after.

    Before a classifier it makes features that the classifier cannot tell apart, while the
    classifier learns to: both are minimised by one optimizer. See `TaskDiscriminator`.

    Args:
        scale: by how much the gradient is multiplied, besides its sign; 0 stops it.

    Call arguments:
        inputs: floats of any shape.

    Output shape:
        That of the inputs.

    Raises:
        ValueError: for a scale that is not a finite number of at least 0.

    Example:

    >>> mtl_keras.layers.GradientReversal()(np.ones((1, 2))).numpy().tolist()
    [[1.0, 1.0]]

    Reference:
        Ganin et al., 2016, Domain-Adversarial Training of Neural Networks, the gradient
        reversal layer.
    """

    def __init__(self, scale: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale = checked_nonnegative(scale, "scale")
        self.supports_masking = True

    def call(self, inputs):
        """The inputs."""
        # The difference is zero, its derivative one: exact, and the same on every backend.
        return inputs - (1 + self.scale) * (inputs - ops.stop_gradient(inputs))

    def compute_output_shape(self, inputs_shape):
        """That of the inputs."""
        return tuple(inputs_shape)

    def get_config(self):
        """Constructor arguments."""
        return {**super().get_config(), "scale": self.scale}
