"""AdditiveConditioning: features and context projected to one width and added."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_count
from mtl_keras.layers.context import context_vector, context_width, over_positions
from mtl_keras.layers.copies import independent_initializer


@keras.saving.register_keras_serializable(package="mtl_keras")
class AdditiveConditioning(keras.layers.Layer):
    """Features and context, each through a kernel of its own, added.

    `y = activation(W1 h + W2 z + b)`. All weights are shared; the context shifts every position
    of an example by the vector `W2 z`. With W1 above W2 as one kernel this is
    `ConcatConditioning`: the same functions, but here each kernel is drawn for its own width
    and regularized apart. Prefer `FiLM` or `MultiplicativeConditioning` where tasks should weigh
    features differently: a shift cannot.

    Args:
        units: width of the output.
        num_tasks: number of tasks; needed where contexts are integer task ids.
        activation: of the output; none by default.
        use_bias: whether there is a bias.
        kernel_initializer: of W1 (channels, units) and W2 (width, units), which draw apart.
        bias_initializer: of the bias.
        kernel_regularizer: of W1.
        context_regularizer: of W2; how much tasks may differ.
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

    >>> layer = mtl_keras.layers.AdditiveConditioning(8, activation="relu")
    >>> features, context = np.ones((2, 4), "float32"), np.ones((2, 3), "float32")
    >>> tuple(layer(features, context).shape)
    (2, 8)

    Reference:
        Dumoulin, Perez, Schucher, Strub, de Vries, Courville, Bengio, 2018, Feature-wise
        transformations, Distill, "conditional biasing".
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
        context_regularizer: Any = None,
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
        self.context_regularizer = keras.regularizers.get(context_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.supports_masking = True

    def build(self, features_shape, context_shape):
        """Makes the two kernels and the bias."""
        self.kernel = self.add_weight(
            name="kernel",
            shape=(features_shape[-1], self.units),
            initializer=independent_initializer(self.kernel_initializer, 0),
            regularizer=self.kernel_regularizer,
        )
        self.context_kernel = self.add_weight(
            name="context_kernel",
            shape=(context_width(context_shape, self.num_tasks), self.units),
            initializer=independent_initializer(self.kernel_initializer, 1),
            regularizer=self.context_regularizer,
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
        """activation(W1 h + W2 z + b)."""
        vectors = context_vector(context, self.num_tasks, self.compute_dtype)
        shift = ops.matmul(vectors, self.context_kernel)
        if self.bias is not None:
            shift = shift + self.bias
        projected = ops.matmul(features, self.kernel)
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
            "context_regularizer": keras.regularizers.serialize(self.context_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
        }
