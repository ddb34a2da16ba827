"""TaskEmbedding: the vector that tells other layers which task it is."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_count
from mtl_keras.layers.context import context_vector, context_width
from mtl_keras.layers.generator import ContextGenerator, checked_hidden_units

MODES = ("learned", "one_hot", "mlp")


@keras.saving.register_keras_serializable(package="mtl_keras")
class TaskEmbedding(keras.layers.Layer):
    """A task as a vector: a row of a learned table, a one-hot row, or an MLP of a descriptor.

    With s the one-hot row of an id, or a vector as it is given, the context is

    - "learned": `z = s E`, a table E with a row a task; a mixture of tasks gives the mixture
      of their rows. For tasks that are told apart by name alone.
    - "one_hot": `z = s`. No weights; the layer after it has weights a task.
    - "mlp": `z = MLP(s)`, dense layers of which the last is linear. For descriptors that say
      how tasks relate (domain, language, camera): weights are shared by all tasks, and a new
      task is reached by its descriptor alone.

    Args:
        units: width of the context. For "one_hot" it may be left out, and is `num_tasks`.
        num_tasks: number of tasks; needed where tasks are integer ids, and for "one_hot".
        mode: "learned", "one_hot" or "mlp".
        hidden_units: widths of the hidden layers of "mlp".
        activation: of the hidden layers of "mlp".
        embeddings_initializer: of the table of "learned".
        embeddings_regularizer: of the table of "learned".
        kernel_initializer: of the kernels of "mlp".
        kernel_regularizer: of the kernels of "mlp".

    Call arguments:
        context: (batch,) or (batch, 1) task ids, or (batch, width) vectors: one-hot rows,
            mixtures of tasks, or descriptors.

    Output shape:
        (batch, units).

    Raises:
        ValueError: for an unknown mode, `units`, `num_tasks` or `hidden_units` that are not
            positive whole numbers, `units` other than `num_tasks` for "one_hot", for a context
            that is neither vectors nor ids, and for an id out of range.

    Example:

    >>> layer = mtl_keras.layers.TaskEmbedding(8, num_tasks=3)
    >>> tuple(layer(np.array([0, 2])).shape)
    (2, 8)
    >>> one_hot = mtl_keras.layers.TaskEmbedding(num_tasks=3, mode="one_hot")
    >>> np.asarray(one_hot(np.array([0, 2]))).tolist()
    [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]

    Reference:
        Yang, Hospedales, 2015, A Unified Perspective on Multi-Domain and Multi-Task Learning,
        semantic descriptors of which one-hot rows are a special case.
    """

    def __init__(
        self,
        units: int | None = None,
        num_tasks: int | None = None,
        mode: str = "learned",
        hidden_units: tuple[int, ...] = (64,),
        activation: Any = "relu",
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if mode not in MODES:
            raise ValueError(f"`mode` must be one of {MODES}. Received: mode={mode!r}")
        self.mode = mode
        self.num_tasks = None if num_tasks is None else checked_count(num_tasks, "num_tasks")
        self.units = self._checked_units(units)
        self.hidden_units = checked_hidden_units(hidden_units)
        self.activation = keras.activations.get(activation)
        self.embeddings_initializer = keras.initializers.get(embeddings_initializer)
        self.embeddings_regularizer = keras.regularizers.get(embeddings_regularizer)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.supports_masking = True
        self.generator = self._new_generator() if mode == "mlp" else None

    def _checked_units(self, units):
        if self.mode != "one_hot":
            return checked_count(units, "units")
        checked_count(self.num_tasks, "num_tasks")
        if units not in (None, self.num_tasks):
            raise ValueError(
                f"`units` must be the number of tasks, {self.num_tasks}, or be left out for "
                f"mode='one_hot'. Received: units={units!r}"
            )
        return self.num_tasks

    def _new_generator(self):
        return ContextGenerator(
            self.units,
            num_tasks=self.num_tasks,
            hidden_units=self.hidden_units,
            activation=self.activation,
            kernel_initializer=self.kernel_initializer,
            kernel_regularizer=self.kernel_regularizer,
            output_initializer=self.kernel_initializer,
            name="generator",
            dtype=self.dtype_policy,
        )

    def build(self, context_shape):
        """Makes the table, or builds the MLP."""
        width = context_width(context_shape, self.num_tasks)
        if self.mode == "mlp":
            self.generator.build(context_shape)
        elif self.mode == "learned":
            self.embeddings = self.add_weight(
                name="embeddings",
                shape=(width, self.units),
                initializer=self.embeddings_initializer,
                regularizer=self.embeddings_regularizer,
            )

    def call(self, context):
        """The context vectors of the tasks."""
        if self.mode == "mlp":
            return self.generator(context)
        vectors = context_vector(context, self.num_tasks, self.compute_dtype)
        return vectors if self.mode == "one_hot" else ops.matmul(vectors, self.embeddings)

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
            "mode": self.mode,
            "hidden_units": self.hidden_units,
            "activation": keras.activations.serialize(self.activation),
            "embeddings_initializer": keras.initializers.serialize(self.embeddings_initializer),
            "embeddings_regularizer": keras.regularizers.serialize(self.embeddings_regularizer),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
