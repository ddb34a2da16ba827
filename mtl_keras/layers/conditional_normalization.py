"""ConditionalNormalization: shared statistics, scale and shift from the context."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_count, checked_positive, checked_rate
from mtl_keras.layers.film import FiLM

KINDS = ("batch", "layer", "group")


@keras.saving.register_keras_serializable(package="mtl_keras")
class ConditionalNormalization(keras.layers.Layer):
    """Batch, layer or group normalization whose scale and shift the context chooses.

    `y = (1 + dgamma(z)) * (h - mean) / sqrt(variance + epsilon) + beta(z)`. The normalization
    and its statistics are shared by all tasks; scale and shift belong to the task, and start as
    one and zero. `kind` says over what the statistics are taken: "batch" over examples and
    positions for each channel (moving averages in inference), "layer" over the channels of
    each position, "group" over the positions and the channels of a group; with as many groups
    as channels that is instance normalization. Masked positions enter no statistic. Prefer
    `FiLM` where the network is normalised elsewhere or not at all.

    Args:
        kind: "batch", "layer" or "group".
        num_tasks: number of tasks; needed where contexts are integer task ids.
        groups: number of groups for "group"; divides the channels.
        epsilon: added to the variance.
        momentum: of the moving averages of "batch".
        hidden_units: widths of the hidden layers from the context; none makes it linear.
        activation: of the hidden layers.
        kernel_initializer: of the hidden layers.
        kernel_regularizer: of all kernels from the context.

    Call arguments:
        features: (batch, ..., channels).
        context: (batch, width) vectors, or (batch,) or (batch, 1) task ids.
        features_mask: (batch, ...) booleans, `True` where a position counts. Keras fills it in.
        training: whether "batch" takes the statistics of the batch and updates its averages.

    Output shape:
        That of the features.

    Raises:
        ValueError: for an unknown `kind`, groups that do not divide the channels, an `epsilon`
            that is not positive, a `momentum` not from 0 to below 1, `num_tasks` or
            `hidden_units` that are not positive whole numbers, for a context that is
            neither vectors nor ids, and for an id out of range.

    Example:

    >>> layer = mtl_keras.layers.ConditionalNormalization("layer", num_tasks=3, epsilon=1e-6)
    >>> features = np.array([[1.0, 3.0], [5.0, 5.5]], "float32")
    >>> np.asarray(layer(features, np.array([0, 2]))).round(2).tolist()
    [[-1.0, 1.0], [-1.0, 1.0]]

    Reference:
        Dumoulin, Shlens, Kudlur, 2017, A Learned Representation for Artistic Style, conditional
        instance normalization; de Vries, Strub, Mary, Larochelle, Pietquin, Courville,
        2017, Modulating Early Visual Processing by Language, conditional batch normalization,
        from where the changes dgamma come.
    """

    def __init__(
        self,
        kind: str = "batch",
        num_tasks: int | None = None,
        groups: int = 32,
        epsilon: float = 1e-3,
        momentum: float = 0.99,
        hidden_units: tuple[int, ...] = (),
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_uniform",
        kernel_regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if kind not in KINDS:
            raise ValueError(f"`kind` must be one of {KINDS}. Received: kind={kind!r}")
        self.kind = kind
        self.groups = checked_count(groups, "groups")
        self.epsilon = checked_positive(epsilon, "epsilon")
        self.momentum = checked_rate(momentum, "momentum")
        self.supports_masking = True
        self.normalization = self._new_normalization()
        self.film = FiLM(
            num_tasks=num_tasks,
            hidden_units=hidden_units,
            activation=activation,
            kernel_initializer=kernel_initializer,
            kernel_regularizer=kernel_regularizer,
            name="film",
            dtype=self.dtype_policy,
        )

    def _new_normalization(self):
        common = {
            "epsilon": self.epsilon,
            "center": False,
            "scale": False,
            "name": "normalization",
            "dtype": self.dtype_policy,
        }
        if self.kind == "batch":
            return keras.layers.BatchNormalization(momentum=self.momentum, **common)
        if self.kind == "layer":
            return keras.layers.LayerNormalization(**common)
        return keras.layers.GroupNormalization(groups=self.groups, **common)

    def build(self, features_shape, context_shape):
        """Builds the normalization and the modulation."""
        if self.kind == "group" and features_shape[-1] % self.groups:
            raise ValueError(
                f"`groups` must divide the number of channels, {features_shape[-1]}. "
                f"Received: groups={self.groups}"
            )
        self.normalization.build(features_shape)
        self.film.build(features_shape, context_shape)

    def call(self, features, context, features_mask=None, training=None):
        """Normalises, then scales and shifts."""
        return self.film(self._normalized(features, features_mask, training), context)

    def _normalized(self, features, mask, training):
        if self.kind == "layer" or (self.kind == "group" and mask is None):
            return self.normalization(features)
        if mask is not None:
            mask = _over_all_positions(mask, features)
        if self.kind == "batch":
            return self.normalization(features, training=training, mask=mask)
        return self._group_normalized(features, mask)

    def _group_normalized(self, features, mask):
        """Group normalization of the positions that count, which Keras has no mask for."""
        # A sum over positions can overflow in float16.
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        shape = ops.shape(features)
        width = features.shape[-1] // self.groups
        grouped = ops.reshape(ops.cast(features, dtype), (*shape[:-1], self.groups, width))
        counted = ops.expand_dims(ops.expand_dims(mask, -1), -1)
        axes = [axis for axis in range(1, len(grouped.shape)) if axis != len(grouped.shape) - 2]
        positions = ops.sum(ops.cast(counted, dtype), axes, keepdims=True)
        # An example of padding alone has no statistics; it divides by one, not by zero.
        count = ops.maximum(positions, 1) * width
        mean = ops.sum(ops.where(counted, grouped, 0), axes, keepdims=True) / count
        centered = ops.where(counted, grouped - mean, 0)
        variance = ops.sum(ops.square(centered), axes, keepdims=True) / count
        normalized = centered * ops.rsqrt(variance + self.epsilon)
        return ops.cast(ops.reshape(normalized, shape), self.compute_dtype)

    def compute_output_shape(self, features_shape, context_shape):
        """That of the features."""
        return tuple(features_shape)

    def get_config(self):
        """All arguments."""
        modulation = self.film.get_config()
        shared = ("num_tasks", "hidden_units", "activation")
        shared += ("kernel_initializer", "kernel_regularizer")
        return {
            **super().get_config(),
            "kind": self.kind,
            "groups": self.groups,
            "epsilon": self.epsilon,
            "momentum": self.momentum,
            **{key: modulation[key] for key in shared},
        }


def _over_all_positions(mask, features):
    """A mask of the first axes, such as time, for every position of the features."""
    for _ in range(len(features.shape) - 1 - len(mask.shape)):
        mask = ops.expand_dims(mask, -1)
    return ops.broadcast_to(mask, ops.shape(features)[:-1])
