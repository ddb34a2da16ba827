"""MultiplicativeConditioning: features times a factor that the context chooses."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_count
from mtl_keras.layers.context import context_vector, context_width, over_positions


@keras.saving.register_keras_serializable(package="mtl_keras")
class MultiplicativeConditioning(keras.layers.Layer):
    """Projected features, each multiplied by a factor that the context chooses.

    `y = (W1 h) * (W2 z + c)`, elementwise. Every factor starts at one, and W1 at the identity
    where it can, so that `y = h` at the start. With c at zero this is the plain form
    `(W1 h) * (W2 z)`, which contains a `TaskGate` of linear branches: W1 holds the kernels of
    all branches side by side, W2 maps a one-hot context to ones on the block of its branch, and
    a fixed sum over blocks follows. All weights are shared; tasks differ in what they keep,
    amplify or turn. Prefer `FiLM` to shift as well, `TaskGate` where nothing may be shared.

    Args:
        units: width of the output; by default that of the features.
        num_tasks: number of tasks; needed where contexts are integer task ids.
        use_bias: whether c exists. It starts at one and W2 at zero, so a factor is one for every
            context. Without it W2 starts at one: then a factor is one for task ids, one-hot rows
            and mixtures of tasks, and otherwise the sum of the context.
        kernel_initializer: of W1 (channels, units); by default the identity where `units` equals
            the channels, else "glorot_uniform".
        context_initializer: of W2 (width, units); by default as `use_bias` says.
        kernel_regularizer: of W1.
        context_regularizer: of W2; with `use_bias`, how far tasks may be from each other.

    Call arguments:
        features: (batch, ..., channels).
        context: (batch, width) vectors, or (batch,) or (batch, 1) task ids.

    Output shape:
        (batch, ..., units).

    Raises:
        ValueError: for `units` or `num_tasks` that are no positive whole numbers, for a context
            that is neither vectors nor ids, and for an id out of range.

    Example:

    >>> layer = mtl_keras.layers.MultiplicativeConditioning(num_tasks=2)
    >>> features = np.array([[1.0, 2.0], [3.0, 4.0]], "float32")
    >>> np.asarray(layer(features, np.array([0, 1]))).tolist()
    [[1.0, 2.0], [3.0, 4.0]]

    Reference:
        Dumoulin, Perez, Schucher, Strub, de Vries, Courville, Bengio, 2018, Feature-wise
        transformations, Distill, "conditional scaling".
    """

    def __init__(
        self,
        units: int | None = None,
        num_tasks: int | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        context_initializer: Any = None,
        kernel_regularizer: Any = None,
        context_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.units = None if units is None else checked_count(units, "units")
        self.num_tasks = None if num_tasks is None else checked_count(num_tasks, "num_tasks")
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.context_initializer = keras.initializers.get(context_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.context_regularizer = keras.regularizers.get(context_regularizer)
        self.supports_masking = True

    def build(self, features_shape, context_shape):
        """Makes W1, W2 and c."""
        channels = features_shape[-1]
        units = self.units or channels
        self.kernel = self.add_weight(
            name="kernel",
            shape=(channels, units),
            initializer=self.kernel_initializer
            or ("identity" if units == channels else "glorot_uniform"),
            regularizer=self.kernel_regularizer,
        )
        self.context_kernel = self.add_weight(
            name="context_kernel",
            shape=(context_width(context_shape, self.num_tasks), units),
            initializer=self.context_initializer or ("zeros" if self.use_bias else "ones"),
            regularizer=self.context_regularizer,
        )
        self.context_bias = None
        if self.use_bias:
            self.context_bias = self.add_weight(
                name="context_bias", shape=(units,), initializer="ones"
            )

    def call(self, features, context):
        """(W1 h) * (W2 z + c)."""
        vectors = context_vector(context, self.num_tasks, self.compute_dtype)
        factor = ops.matmul(vectors, self.context_kernel)
        if self.context_bias is not None:
            factor = factor + self.context_bias
        return ops.matmul(features, self.kernel) * over_positions(factor, features)

    def compute_output_shape(self, features_shape, context_shape):
        """(batch, ..., units)."""
        return (*features_shape[:-1], self.units or features_shape[-1])

    def get_config(self):
        """All arguments."""
        return {
            **super().get_config(),
            "units": self.units,
            "num_tasks": self.num_tasks,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "context_initializer": keras.initializers.serialize(self.context_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "context_regularizer": keras.regularizers.serialize(self.context_regularizer),
        }
