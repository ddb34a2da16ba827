"""ConcatConditioning: a dense layer of the features next to the context."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_count
from mtl_keras.layers.context import context_vector, context_width, over_positions


@keras.saving.register_keras_serializable(package="mtl_keras")
class ConcatConditioning(keras.layers.Layer):
    """A dense layer that sees the context beside the features.

    `y = activation(W [h; z] + b)`, where `[h; z]` are the features of a position followed by the
    context of its example. All of W is shared; the context can only shift the result, each task
    by a vector of its own. `AdditiveConditioning` is the same map with a kernel each for h and z,
    drawn and regularized apart; prefer it where z is much narrower or wider than h. Prefer
    `FiLM` or `MultiplicativeConditioning` where tasks should weigh features differently.

    Args:
        units: width of the output.
        num_tasks: number of tasks; needed where contexts are integer task ids.
        activation: of the output; none by default.
        use_bias: whether there is a bias.
        kernel_initializer: of the kernel (channels + width, units), features first.
        bias_initializer: of the bias.
        kernel_regularizer: of the kernel.
        bias_regularizer: of the bias.

    Call arguments:
        features: (batch, ..., channels).
        context: (batch, width) vectors, or (batch,) or (batch, 1) task ids.

    Output shape:
        (batch, ..., units).

    Raises:
        ValueError: for `units` or `num_tasks` that are no positive whole numbers, for a context
            that is neither vectors nor ids, and for an id out of range.

    Example:

    >>> layer = mtl_keras.layers.ConcatConditioning(8, num_tasks=3)
    >>> features = np.ones((2, 5, 4), "float32")
    >>> tuple(layer(features, np.array([0, 2])).shape)
    (2, 5, 8)

    Reference:
        Dumoulin, Perez, Schucher, Strub, de Vries, Courville, Bengio, 2018, Feature-wise
        transformations, Distill, "concatenation-based conditioning".
    """

    def __init__(
        self,
        units: int,
        num_tasks: int | None = None,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = checked_count(units, "units")
        self.num_tasks = None if num_tasks is None else checked_count(num_tasks, "num_tasks")
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.supports_masking = True

    def build(self, features_shape, context_shape):
        """Makes the kernel and the bias."""
        width = context_width(context_shape, self.num_tasks)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(features_shape[-1] + width, self.units),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(self.units,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
            )

    def call(self, features, context):
        """activation(W [h; z] + b)."""
        vectors = context_vector(context, self.num_tasks, self.compute_dtype)
        channels = features.shape[-1]
        # W [h; z] in two parts: the context is multiplied once an example, not once a position.
        shift = ops.matmul(vectors, self.kernel[channels:])
        if self.bias is not None:
            shift = shift + self.bias
        projected = ops.matmul(features, self.kernel[:channels])
        return self.activation(projected + over_positions(shift, features))

    def compute_output_shape(self, features_shape, context_shape):
        """(batch, ..., units)."""
        return (*features_shape[:-1], self.units)

    def get_config(self):
        """All arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "num_tasks": self.num_tasks,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
        }
