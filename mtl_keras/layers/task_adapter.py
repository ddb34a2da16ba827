"""TaskAdapter: a bottleneck of its own for each task."""

from typing import Any

import keras

from mtl_keras.checks import checked_count
from mtl_keras.layers.adapter import Adapter
from mtl_keras.layers.context import context_vector, context_width
from mtl_keras.layers.copies import StackedInitializer
from mtl_keras.layers.mixed_dense import mixed_dense


@keras.saving.register_keras_serializable(package="mtl_keras")
class TaskAdapter(Adapter):
    """A small network of its own for each task, added to what the tasks share.

    h + V_t g(U_t h + a_t) + c_t

    where h is the output of `layer` (or the features themselves), shared by all tasks, and U_t
    (channels to bottleneck), V_t (bottleneck to channels) and the biases a_t and c_t belong to
    task t. V_t and c_t start at zero: the adapted model starts as the shared one. A task costs
    (2 bottleneck + 1) channels + bottleneck weights. A context row that is not one-hot mixes
    the tasks' weights in its proportions.

    Prefer `LowRankTaskAdapter` for a change that is linear and can be merged into the layer,
    `HyperAdapter` when there are so many tasks that their adapters should share what they
    learn, `FiLM` when a scale and a shift for each channel are enough.

    Args:
        num_tasks: number of tasks.
        bottleneck: width between U and V, much smaller than the channels.
        activation: g.
        layer: the layer whose output is adapted, used as it is and not copied. `None`: the
            features are adapted.
        use_bias: whether there are a_t and c_t.
        kernel_initializer: of the U_t, drawn for each task on its own.
        kernel_regularizer: of the U_t and V_t.

    Call arguments:
        features: (batch, ..., channels), what `layer` takes.
        context: (batch,) or (batch, 1) task ids, or (batch, num_tasks) rows.

    Output shape:
        That of the output of `layer`, or of features.

    Raises:
        ValueError: for a count below 1, a `layer` that is none, a context of another width
            than `num_tasks`, and task ids out of range.

    Example:
        >>> layer = mtl_keras.layers.TaskAdapter(
        ...     num_tasks=3, bottleneck=4, layer=keras.layers.Dense(16)
        ... )
        >>> outputs = layer(np.ones((2, 8), "float32"), np.array([0, 2]))
        >>> tuple(outputs.shape)
        (2, 16)

    Reference:
        Houlsby et al., 2019, "Parameter-Efficient Transfer Learning for NLP", section 2.1
        (the bottleneck, after a layer, with biases). Stickland and Murray, 2019, "BERT and
        PALs: Projected Attention Layers for Efficient Adaptation in Multi-Task Learning"
        (one for each task of a shared network, trained together; the low-rank form, without
        attention).
    """

    def __init__(
        self,
        num_tasks: int,
        bottleneck: int,
        activation: Any = "gelu",
        layer: keras.layers.Layer | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(layer, **kwargs)
        self.num_tasks = checked_count(num_tasks, "num_tasks")
        self.bottleneck = checked_count(bottleneck, "bottleneck")
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, features_shape, context_shape):
        """Makes the stacks (tasks, in, out), and the layer where nobody has."""
        context_width(context_shape, self.num_tasks)
        channels = self.build_layer(features_shape)[-1]
        drawn = StackedInitializer(self.kernel_initializer, 0)
        self.down_kernel, self.down_bias = self._add_stacks(
            "down", (channels, self.bottleneck), drawn
        )
        self.up_kernel, self.up_bias = self._add_stacks("up", (self.bottleneck, channels), "zeros")

    def _add_stacks(self, name, shape, initializer):
        kernels = self.add_weight(
            name=f"{name}_kernel",
            shape=(self.num_tasks, *shape),
            initializer=initializer,
            regularizer=self.kernel_regularizer,
        )
        if not self.use_bias:
            return kernels, None
        biases = self.add_weight(
            name=f"{name}_bias", shape=(self.num_tasks, shape[1]), initializer="zeros"
        )
        return kernels, biases

    def call(self, features, context):
        """h + V_t g(U_t h + a_t) + c_t."""
        tasks = context_vector(context, self.num_tasks, self.compute_dtype)
        shared = self.output_of_layer(features)
        hidden = self.activation(mixed_dense(shared, self.down_kernel, self.down_bias, tasks))
        return shared + mixed_dense(hidden, self.up_kernel, self.up_bias, tasks)

    def get_config(self):
        """All arguments."""
        return {
            **super().get_config(),
            "num_tasks": self.num_tasks,
            "bottleneck": self.bottleneck,
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
