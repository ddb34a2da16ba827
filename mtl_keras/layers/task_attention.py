"""TaskAttention: every task looks at shared features through a mask of its own."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_count
from mtl_keras.layers.copies import StackedInitializer
from mtl_keras.layers.towers import (
    checked_towers,
    joint_mask,
    mask_over_positions,
    tower_shape,
)


@keras.saving.register_keras_serializable(package="mtl_keras")
class TaskAttention(keras.layers.Layer):
    """a_k = sigmoid(BN(W2_k relu(BN(W1_k [u; b_k])))) * p: a soft mask a task.

    The features u and p are shared, the masks per task; b_k is what task k attended to in the
    block before. A trunk thus stays one network, where towers that exchange (`CrossStitch`,
    `NDDR`) are K networks. Both maps are 1 x 1 convolutions, which are dense maps of the
    channels. The paper's convolution and pooling from one block's a_k to the next block's b_k,
    the same for all tasks, is any layer called on each output.

    Args:
        num_tasks: K.
        units: width of the hidden map; default the channels of p.
        batch_normalization: whether both maps are normalised; default `True`. Otherwise they
            have biases.
        kernel_initializer: of the maps; default "glorot_uniform".

    Call arguments:
        features: the shared features, (batch, ..., channels), as u and p; or a tuple (u, p),
            such as the first and last layer of a block of the trunk, over equal positions.
        previous: a tuple of K tensors b_k over equal positions; `None` in the first block.
        mask: as Keras gives it; masked positions enter no batch statistics.

    Output shape:
        A tuple of K shapes, that of p.

    Raises:
        ValueError: for bad counts, another number of tensors in `previous`, other positions,
            and when `previous` is there in one call and not in the next.

    Example:

    >>> trunk = np.ones((2, 8, 8, 3))
    >>> depth, surface = mtl_keras.layers.TaskAttention(2)(trunk)
    >>> depth, surface = mtl_keras.layers.TaskAttention(2)(trunk, (depth, surface))
    >>> depth.shape
    TensorShape([2, 8, 8, 3])

    Reference:
        Liu et al., 2019, End-to-End Multi-Task Learning with Attention, equations 1 and 2.
    """

    def __init__(
        self,
        num_tasks: int,
        units: int | None = None,
        batch_normalization: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_tasks = checked_count(num_tasks, "num_tasks")
        self.units = units if units is None else checked_count(units, "units")
        self.batch_normalization = bool(batch_normalization)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.supports_masking = True
        self.normalizations = ()
        if self.batch_normalization:
            self.normalizations = tuple(
                keras.layers.BatchNormalization(name=name, dtype=self.dtype_policy)
                for name in ("hidden_normalization", "mask_normalization")
            )

    def build(self, features_shape: tuple, previous_shape: tuple | None = None) -> None:
        """Makes both maps of all tasks, (inputs, K, units) and (units, K, channels)."""
        shared, attended = _shared_and_attended(features_shape)
        if len(shared) < 2 or tuple(shared[:-1]) != tuple(attended[:-1]):
            raise ValueError(
                "`features` must be one tensor (batch, ..., channels), or two over equal "
                f"positions. Received: features of shape {features_shape}"
            )
        inputs = shared[-1] + self._previous_width(shared, previous_shape)
        self.has_previous = previous_shape is not None
        units = self.units or attended[-1]
        self.hidden_kernel = self._new_kernel("hidden", inputs, units, 0)
        self.mask_kernel = self._new_kernel("mask", units, attended[-1], 1)
        self.biases = ()
        widths = [self.num_tasks * units, self.num_tasks * attended[-1]]
        if not self.batch_normalization:
            self.biases = tuple(
                self.add_weight(name=name, shape=(width,), initializer="zeros")
                for name, width in zip(("hidden_bias", "mask_bias"), widths, strict=True)
            )
        for normalization, width in zip(self.normalizations, widths, strict=False):
            normalization.build((*attended[:-1], width))

    def _previous_width(self, shared, previous_shape):
        if previous_shape is None:
            return 0
        shape = tower_shape(previous_shape, "previous", self.num_tasks)
        if len(shape) != len(shared):
            raise ValueError(
                f"`previous` must have the positions of `features`, of shape {tuple(shared)}. "
                f"Received: previous of shape {previous_shape}"
            )
        return shape[-1]

    def _new_kernel(self, name, inputs, units, index):
        return self.add_weight(
            name=f"{name}_kernel",
            shape=(inputs, self.num_tasks, units),
            initializer=StackedInitializer(self.kernel_initializer, 1, index),
        )

    def call(
        self,
        features: Any,
        previous: Any = None,
        mask: Any = None,
        features_mask: Any = None,
        training: bool | None = None,
    ) -> tuple:
        """The shared features under the mask of each task."""
        shared, attended = features if isinstance(features, (list, tuple)) else (features,) * 2
        # Keras names the mask after the argument once there are two.
        mask = joint_mask(mask if features_mask is None else features_mask)
        mask = mask_over_positions(mask, attended)
        hidden = self._hidden(shared, previous)
        hidden = ops.relu(self._normalised(hidden, 0, mask, training))
        hidden = ops.split(hidden, self.num_tasks, axis=-1)
        logits = _each_through_its_own(hidden, self.mask_kernel)
        attention = ops.sigmoid(self._normalised(logits, 1, mask, training))
        return tuple(a * attended for a in ops.split(attention, self.num_tasks, axis=-1))

    def _hidden(self, shared, previous):
        if (previous is not None) != self.has_previous:
            raise ValueError(
                "`previous` must be given in every call or in none. "
                f"Received: previous={'None' if previous is None else 'tensors'}, after a call "
                f"{'with' if self.has_previous else 'without'} it"
            )
        # The shared part is one product for all tasks.
        width = shared.shape[-1]
        hidden = ops.matmul(shared, ops.reshape(self.hidden_kernel[:width], (width, -1)))
        if previous is None:
            return hidden
        previous = checked_towers(previous, self.num_tasks, "previous")
        return hidden + _each_through_its_own(previous, self.hidden_kernel[width:])

    def _normalised(self, features, index, mask, training):
        if self.batch_normalization:
            return self.normalizations[index](features, training=training, mask=mask)
        return features + self.biases[index]

    def compute_mask(self, features: Any, previous_mask: Any = None) -> tuple:
        """Valid where the shared features are."""
        return (joint_mask(previous_mask),) * self.num_tasks

    def compute_output_shape(
        self, features_shape: tuple, previous_shape: tuple | None = None
    ) -> tuple:
        """The shape of the attended features for each task."""
        return (tuple(_shared_and_attended(features_shape)[1]),) * self.num_tasks

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "num_tasks": self.num_tasks,
            "units": self.units,
            "batch_normalization": self.batch_normalization,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def _shared_and_attended(features_shape):
    if not isinstance(features_shape[0], (list, tuple)):
        return features_shape, features_shape
    if len(features_shape) != 2:
        raise ValueError(
            f"`features` must be one tensor or two, (u, p). Received: {len(features_shape)} tensors"
        )
    return features_shape


def _each_through_its_own(tensors, kernels):
    products = [ops.matmul(tensor, kernels[:, k]) for k, tensor in enumerate(tensors)]
    return ops.concatenate(products, axis=-1)
