"""FiLM: feature-wise linear modulation."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_count
from mtl_keras.layers.context import over_positions
from mtl_keras.layers.generator import ContextGenerator, checked_hidden_units


@keras.saving.register_keras_serializable(package="mtl_keras")
class FiLM(keras.layers.Layer):
    """Every channel scaled and shifted as the context says.

    `y = (1 + dgamma(z)) * h + beta(z)`, with one gamma and one beta a channel and example, the
    same at all positions. `dgamma` and `beta` come from one linear map of the context, or from an
    MLP, whose last layer starts at zero: the layer starts as the identity. With task ids and
    no hidden layer this is a table of scales and shifts a task. Features are shared; tasks
    differ in two numbers a channel. Prefer `ConditionalNormalization` where the features should
    be normalised first, `MultiplicativeConditioning` for a factor with a kernel before it.

    Args:
        num_tasks: number of tasks; needed where contexts are integer task ids.
        hidden_units: widths of the hidden layers from the context; none makes it linear.
        activation: of the hidden layers.
        kernel_initializer: of the hidden layers.
        kernel_regularizer: of all kernels from the context; pulls towards the same
            modulation for every context.

    Call arguments:
        features: (batch, ..., channels).
        context: (batch, width) vectors, or (batch,) or (batch, 1) task ids.

    Output shape:
        That of the features.

    Raises:
        ValueError: for `num_tasks` or `hidden_units` that are not positive whole numbers, for a
            context that is neither vectors nor ids, and for an id out of range.

    Example:

    >>> layer = mtl_keras.layers.FiLM(num_tasks=3, hidden_units=(16,))
    >>> images = np.ones((2, 8, 8, 4), "float32")
    >>> tuple(layer(images, np.array([0, 2])).shape)
    (2, 8, 8, 4)

    Reference:
        Perez, Strub, de Vries, Dumoulin, Courville, 2018, FiLM: Visual Reasoning with a General
        Conditioning Layer, equations 1 and 2, with gamma = 1 + dgamma as in its section on
        the model.
    """

    def __init__(
        self,
        num_tasks: int | None = None,
        hidden_units: tuple[int, ...] = (),
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_tasks = None if num_tasks is None else checked_count(num_tasks, "num_tasks")
        self.hidden_units = checked_hidden_units(hidden_units)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True

    def build(self, features_shape, context_shape):
        """Builds the map from the context to (dgamma, beta)."""
        self.generator = ContextGenerator(
            2 * features_shape[-1],
            num_tasks=self.num_tasks,
            hidden_units=self.hidden_units,
            activation=self.activation,
            kernel_initializer=self.kernel_initializer,
            kernel_regularizer=self.kernel_regularizer,
            name="generator",
            dtype=self.dtype_policy,
        )
        self.generator.build(context_shape)

    def call(self, features, context):
        """(1 + dgamma(z)) * h + beta(z)."""
        dgamma, beta = ops.split(self.generator(context), 2, axis=-1)
        return (1 + over_positions(dgamma, features)) * features + over_positions(beta, features)

    def compute_output_shape(self, features_shape, context_shape):
        """That of the features."""
        return tuple(features_shape)

    def get_config(self):
        """All arguments."""
        return {
            **super().get_config(),
            "num_tasks": self.num_tasks,
            "hidden_units": self.hidden_units,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
