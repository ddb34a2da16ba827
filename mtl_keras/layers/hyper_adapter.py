"""HyperAdapter: a bottleneck whose weights a small network makes from the context."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_count
from mtl_keras.layers.adapter import Adapter
from mtl_keras.layers.generator import ContextGenerator
from mtl_keras.layers.mixed_dense import mixed_dense


@keras.saving.register_keras_serializable(package="mtl_keras")
class HyperAdapter(Adapter):
    """An adapter whose weights are generated from the context by a hypernetwork.

    e = projection(z),  h + V(e) g(U(e) h + a(e)) + c(e)

    where h is the output of `layer` (or the features themselves), z the context, and every
    weight of the adapter is affine in the embedding e: U(e) = U_0 + sum_k e_k U_k. Everything
    is shared by all tasks; a task has only its context, so that related tasks learn from each
    other and a new one needs a context and no weights. The U_k, V, c and a start at zero and
    U_0 is drawn: the adapted model starts as the shared one, and every context starts alike.

    Prefer `TaskAdapter` for few tasks with much data each, whose adapters should not depend on
    each other, and `FiLM` when a scale and a shift for each channel are enough.

    Args:
        bottleneck: width of the adapter, much smaller than the channels.
        num_tasks: number of tasks; needed where contexts are integer task ids.
        embedding_units: width of e, on which the size of the hypernetwork depends:
            (embedding_units + 1) adapters.
        hidden_units: widths of the hidden layers of the projection; none makes it linear.
        hidden_activation: of the hidden layers of the projection.
        activation: g.
        layer: the layer whose output is adapted, used as it is and not copied. `None`: the
            features are adapted.
        use_bias: whether there are a and c.
        kernel_initializer: of U_0 and of the projection.
        kernel_regularizer: of U, V and the projection.

    Call arguments:
        features: (batch, ..., channels), what `layer` takes.
        context: (batch, width) vectors, or (batch,) or (batch, 1) task ids.

    Output shape:
        That of the output of `layer`, or of features.

    Raises:
        ValueError: for a count below 1, a `layer` that is none, a context that is neither
            vectors nor ids or of another width than `num_tasks`, and task ids out of range.

    Example:
        >>> layer = mtl_keras.layers.HyperAdapter(bottleneck=4, embedding_units=3)
        >>> features = np.ones((2, 5, 8), "float32")
        >>> outputs = layer(features, np.array([[0.1, 0.2], [0.3, 0.4]], "float32"))
        >>> tuple(outputs.shape)
        (2, 5, 8)

    Reference:
        Karimi Mahabadi et al., 2021, "Parameter-efficient Multi-task Fine-tuning for
        Transformers via Shared Hypernetworks" (the projection of the task's description,
        and weights linear in it; here also a part for every context alike, such as U_0, and
        no generated layer normalisation).
    """

    def __init__(
        self,
        bottleneck: int,
        num_tasks: int | None = None,
        embedding_units: int = 32,
        hidden_units: tuple[int, ...] = (),
        hidden_activation: Any = "relu",
        activation: Any = "gelu",
        layer: keras.layers.Layer | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(layer, **kwargs)
        self.bottleneck = checked_count(bottleneck, "bottleneck")
        self.num_tasks = None if num_tasks is None else checked_count(num_tasks, "num_tasks")
        self.embedding_units = checked_count(embedding_units, "embedding_units")
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.projection = ContextGenerator(
            self.embedding_units,
            self.num_tasks,
            hidden_units,
            hidden_activation,
            kernel_initializer=self.kernel_initializer,
            kernel_regularizer=self.kernel_regularizer,
            output_initializer=self.kernel_initializer,
            name="projection",
            dtype=self.dtype_policy,
        )

    def build(self, features_shape, context_shape):
        """Builds the projection, makes the stacks, and the layer where nobody has."""
        self.projection.build(context_shape)
        channels = self.build_layer(features_shape)[-1]
        self.down_kernel, self.down_bias = self._add_stacks(
            "down", (channels, self.bottleneck), self._draw_first
        )
        self.up_kernel, self.up_bias = self._add_stacks("up", (self.bottleneck, channels), "zeros")

    def _draw_first(self, shape, dtype=None):
        first = self.kernel_initializer(shape[1:], dtype=dtype)
        others = ops.zeros((shape[0] - 1, *shape[1:]), dtype=dtype)
        return ops.concatenate([ops.expand_dims(first, 0), others])

    def _add_stacks(self, name, shape, initializer):
        count = self.embedding_units + 1
        kernels = self.add_weight(
            name=f"{name}_kernel",
            shape=(count, *shape),
            initializer=initializer,
            regularizer=self.kernel_regularizer,
        )
        if not self.use_bias:
            return kernels, None
        biases = self.add_weight(name=f"{name}_bias", shape=(count, shape[1]), initializer="zeros")
        return kernels, biases

    def call(self, features, context):
        """h + V(e) g(U(e) h + a(e)) + c(e)."""
        embedding = self.projection(context)
        # The first of each stack is what every context has.
        shares = ops.concatenate([ops.ones_like(embedding[:, :1]), embedding], axis=1)
        shared = self.output_of_layer(features)
        hidden = self.activation(mixed_dense(shared, self.down_kernel, self.down_bias, shares))
        return shared + mixed_dense(hidden, self.up_kernel, self.up_bias, shares)

    def get_config(self):
        """All arguments."""
        return {
            **super().get_config(),
            "bottleneck": self.bottleneck,
            "num_tasks": self.num_tasks,
            "embedding_units": self.embedding_units,
            "hidden_units": self.projection.hidden_units,
            "hidden_activation": keras.activations.serialize(self.projection.activation),
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
