"""A small network from a context to the vectors that modulate a layer."""

from typing import Any

import keras

from mtl_keras.checks import checked_count
from mtl_keras.layers.context import context_vector, context_width
from mtl_keras.layers.copies import independent_initializer


@keras.saving.register_keras_serializable(package="mtl_keras")
class ContextGenerator(keras.layers.Layer):
    """(batch, width) contexts to (batch, units): dense layers, of which the last is linear.

    The last layer starts at zero, so that whatever it modulates starts unmodulated. Weights:
    `hidden_<i>/kernel`, `hidden_<i>/bias`, `out/kernel`, `out/bias`.

    Args:
        units: width of the output.
        num_tasks: number of tasks; needed where contexts are integer task ids.
        hidden_units: widths of the hidden layers; none makes the map linear.
        activation: of the hidden layers.
        use_bias: whether the layers have biases. They start at zero.
        kernel_initializer: of the hidden layers.
        kernel_regularizer: of all layers.
        output_initializer: of the kernel of the last layer.

    Call arguments:
        context: (batch, width) vectors, or (batch,) or (batch, 1) task ids.

    Output shape:
        (batch, units).

    Raises:
        ValueError: for widths that are not positive whole numbers, and for a context that is
            neither vectors nor ids.
    """

    def __init__(
        self,
        units: int,
        num_tasks: int | None = None,
        hidden_units: tuple[int, ...] = (),
        activation: Any = "relu",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        output_initializer: Any = "zeros",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = checked_count(units, "units")
        self.num_tasks = None if num_tasks is None else checked_count(num_tasks, "num_tasks")
        self.hidden_units = checked_hidden_units(hidden_units)
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.output_initializer = keras.initializers.get(output_initializer)
        self.supports_masking = True
        self.hidden = [
            self._new_dense(
                width,
                f"hidden_{index}",
                self.activation,
                independent_initializer(self.kernel_initializer, index),
            )
            for index, width in enumerate(self.hidden_units)
        ]
        # The index after those of the hidden layers: both arguments may be one object.
        last = independent_initializer(self.output_initializer, len(self.hidden))
        self.out = self._new_dense(self.units, "out", None, last)

    def _new_dense(self, units, name, activation, initializer):
        return keras.layers.Dense(
            units,
            activation,
            use_bias=self.use_bias,
            kernel_initializer=initializer,
            kernel_regularizer=self.kernel_regularizer,
            name=name,
            dtype=self.dtype_policy,
        )

    def build(self, context_shape):
        """Builds the dense layers."""
        width = context_width(context_shape, self.num_tasks)
        for dense in [*self.hidden, self.out]:
            dense.build((context_shape[0], width))
            width = dense.units

    def call(self, context):
        """Maps the contexts to the vectors."""
        vectors = context_vector(context, self.num_tasks, self.compute_dtype)
        for dense in [*self.hidden, self.out]:
            vectors = dense(vectors)
        return vectors

    def compute_output_shape(self, context_shape):
        """(batch, units)."""
        context_width(context_shape, self.num_tasks)
        return (context_shape[0], self.units)

    def get_config(self):
        """All arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "num_tasks": self.num_tasks,
            "hidden_units": self.hidden_units,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "output_initializer": keras.initializers.serialize(self.output_initializer),
        }


def checked_hidden_units(hidden_units: Any) -> tuple[int, ...]:
    """`hidden_units` as a tuple, which may be empty.

    Raises:
        ValueError: unless it is a tuple or list of positive whole numbers.
    """
    if not isinstance(hidden_units, (tuple, list)):
        raise ValueError(
            "`hidden_units` must be a tuple of positive whole numbers. "
            f"Received: hidden_units={hidden_units!r}"
        )
    return tuple(checked_count(width, "hidden_units") for width in hidden_units)
