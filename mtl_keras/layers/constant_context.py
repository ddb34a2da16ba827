"""ConstantContext: the same context for every row."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_numbers


@keras.saving.register_keras_serializable(package="mtl_keras")
class ConstantContext(keras.layers.Layer):
    """One vector, for each row of what it is called on.

    A network that is told its task can so be applied once a task in a Functional model, each
    time with the task's one-hot row or descriptor: where all tasks are wanted for all rows, no
    input has to name the task.

    Args:
        values: the vector.

    Call arguments:
        inputs: (batch, ...); only the size of the batch is read.

    Output shape:
        (batch, number of values).

    Raises:
        ValueError: for values that are not finite numbers, one or more.

    Example:

    >>> layer = mtl_keras.layers.ConstantContext((0, 1))
    >>> np.asarray(layer(np.zeros((3, 5)))).tolist()
    [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    """

    def __init__(self, values: Sequence[float], **kwargs: Any):
        super().__init__(**kwargs)
        self.values = checked_numbers(() if values is None else values, "values")
        self.supports_masking = True

    def compute_mask(self, inputs, previous_mask=None):
        """None: a context has no positions."""
        return None

    def call(self, inputs):
        """The vector once a row."""
        vector = ops.convert_to_tensor(self.values, dtype=self.compute_dtype)
        # Not by a product with the inputs, which may be NaN.
        return ops.broadcast_to(vector, (ops.shape(inputs)[0], len(self.values)))

    def compute_output_shape(self, inputs_shape):
        """(batch, number of values)."""
        return (inputs_shape[0], len(self.values))

    def get_config(self):
        """Constructor arguments."""
        return {**super().get_config(), "values": self.values}
