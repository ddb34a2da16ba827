"""LowRankTaskAdapter: a low-rank update of a shared layer for each task."""

from typing import Any

import keras

from mtl_keras.checks import checked_count, checked_positive
from mtl_keras.layers.adapter import Adapter
from mtl_keras.layers.context import context_vector, context_width
from mtl_keras.layers.copies import StackedInitializer
from mtl_keras.layers.mixed_dense import mixed_dense


@keras.saving.register_keras_serializable(package="mtl_keras")
class LowRankTaskAdapter(Adapter):
    """A shared linear layer plus a matrix of low rank for each task.

    g(W x + b + (alpha / rank) B_t A_t x)

    W and b are those of `layer` and shared by all tasks; A_t (in to rank) and B_t (rank to out)
    belong to task t. B_t starts at zero, so that the model starts as the shared one. A task
    costs rank (in + out) weights, and W + (alpha / rank) B_t A_t is a plain kernel to serve
    with. A context row that is not one-hot mixes the A_t and the B_t in its proportions.

    W is trained along with the rest; set `layer.trainable = False` to train only the updates.
    Prefer `TaskAdapter` for a change that is not linear.

    Args:
        layer: the shared layer, used as it is and not copied: a Dense, or another layer
            that is linear and keeps every axis but the last. It may have no activation,
            because the update is added before that.
        num_tasks: number of tasks.
        rank: rank of the updates, much smaller than in and out.
        alpha: strength of the updates; `None` for alpha = rank, a factor of 1.
        activation: g.
        kernel_initializer: of the A_t, drawn for each task on its own.
        kernel_regularizer: of the A_t and B_t.

    Call arguments:
        features: (batch, ..., in).
        context: (batch,) or (batch, 1) task ids, or (batch, num_tasks) rows.

    Output shape:
        (batch, ..., out), that of the output of `layer`.

    Raises:
        ValueError: for a count below 1, an alpha that is not positive, a `layer` that is none,
            has an activation or changes the shape before the last axis, a context of another
            width than `num_tasks`, and task ids out of range.

    Example:
        >>> layer = mtl_keras.layers.LowRankTaskAdapter(
        ...     keras.layers.Dense(16), num_tasks=3, rank=2, activation="relu"
        ... )
        >>> outputs = layer(np.ones((2, 8), "float32"), np.array([0, 2]))
        >>> tuple(outputs.shape)
        (2, 16)

    Reference:
        Hu et al., 2021, "LoRA: Low-Rank Adaptation of Large Language Models", equation 3
        (the update and alpha / rank); here one for each task, beside a W that may be trained.
    """

    def __init__(
        self,
        layer: keras.layers.Layer,
        num_tasks: int,
        rank: int,
        alpha: float | None = None,
        activation: Any = None,
        kernel_initializer: Any = "he_uniform",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(_checked_linear(layer), **kwargs)
        self.num_tasks = checked_count(num_tasks, "num_tasks")
        self.rank = checked_count(rank, "rank")
        self.alpha = None if alpha is None else checked_positive(alpha, "alpha")
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, features_shape, context_shape):
        """Makes the stacks A (tasks, in, rank) and B (tasks, rank, out)."""
        context_width(context_shape, self.num_tasks)
        output_shape = self.build_layer(features_shape)
        if output_shape[:-1] != tuple(features_shape)[:-1]:
            raise ValueError(
                "`layer` must keep every axis but the last. Received: a layer that makes "
                f"{output_shape} of features of shape {tuple(features_shape)}"
            )
        self.a_kernel = self._add_stack(
            "a_kernel",
            (features_shape[-1], self.rank),
            StackedInitializer(self.kernel_initializer, 0),
        )
        self.b_kernel = self._add_stack("b_kernel", (self.rank, output_shape[-1]), "zeros")

    def _add_stack(self, name, shape, initializer):
        return self.add_weight(
            name=name,
            shape=(self.num_tasks, *shape),
            initializer=initializer,
            regularizer=self.kernel_regularizer,
        )

    def call(self, features, context):
        """g(W x + b + (alpha / rank) B_t A_t x)."""
        tasks = context_vector(context, self.num_tasks, self.compute_dtype)
        low = mixed_dense(features, self.a_kernel, None, tasks)
        update = mixed_dense(low, self.b_kernel, None, tasks)
        scale = 1.0 if self.alpha is None else self.alpha / self.rank
        return self.activation(self.output_of_layer(features) + scale * update)

    def get_config(self):
        """All arguments."""
        return {
            **super().get_config(),
            "num_tasks": self.num_tasks,
            "rank": self.rank,
            "alpha": self.alpha,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }


def _checked_linear(layer):
    if not isinstance(layer, keras.layers.Layer):
        raise ValueError(f"`layer` must be a Keras layer. Received: layer={layer!r}")
    activation = getattr(layer, "activation", None)
    if activation not in (None, keras.activations.linear):
        raise ValueError(
            "`layer` must have no activation, because the update is added before it; give "
            f"`activation` to the adapter. Received: layer with activation={activation!r}"
        )
    return layer
