"""SluiceUnit: subspaces of towers read each other."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_between, checked_count, checked_positive
from mtl_keras.layers.layer_metric import log_key
from mtl_keras.layers.towers import (
    checked_towers,
    joint_mask,
    mask_over_positions,
    mixed,
    own_and_others,
    tower_shape,
)
from mtl_keras.layers.training_mean import TrainingMean


@keras.saving.register_keras_serializable(package="mtl_keras")
class SluiceUnit(keras.layers.Layer):
    """Splits each of K towers into G subspaces and mixes all K G of them.

    x~_p = sum_q alpha_pq x_q over the subspaces p, q of all towers, with one number a pair. A
    tower can thus share one part of itself and keep another. `CrossStitch` is its neighbour
    with G = 1 and a number a channel.

    The subspaces are pushed apart by an orthogonality penalty, added while training and
    reported under `<layer path>_orthogonality_loss`: sum over towers k and subspaces g < h of
    ||mean over positions of h_kg h_kh^T||_F^2. The paper puts it on the halves of the tower's
    weight matrices; this unit does not own those, so it puts it on the features they give,
    the unit's inputs (as in the difference loss of domain separation networks).

    Args:
        subspaces: G, which must divide the channels; default 2.
        initial: what a subspace first takes of itself, from 0 to 1; all others share the rest
            equally, so rows of alpha sum to one. Default 0.9.
        orthogonality: weight of the penalty; default 0, none.

    Call arguments:
        features: a tuple of K tensors of one shape (batch, ..., channels).
        mask: a tuple of K masks or `None`; masked positions are not penalised.

    Output shape:
        A tuple of K shapes, that of the towers.

    Raises:
        ValueError: for bad arguments, channels that G does not divide, and towers that differ
            in shape or number.

    Example:

    >>> layer = mtl_keras.layers.SluiceUnit(subspaces=2, initial=1.0)
    >>> first, second = layer((np.ones((2, 4)), np.zeros((2, 4))))
    >>> first.numpy()[0].tolist(), second.numpy()[0].tolist()
    ([1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0])

    Reference:
        Ruder et al., 2019, Latent Multi-task Architecture Learning, the alpha parameters
        and orthogonality constraints; penalty on features: Bousmalis et al., 2016, Domain
        Separation Networks, the difference loss.
    """

    def __init__(
        self,
        subspaces: int = 2,
        initial: float = 0.9,
        orthogonality: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.subspaces = checked_count(subspaces, "subspaces")
        self.initial = checked_between(initial, "initial", 0, 1)
        self.orthogonality = orthogonality and checked_positive(orthogonality, "orthogonality")
        self.supports_masking = True

    def build(self, features_shape: tuple) -> None:
        """Makes alpha, (K G, K G), and the tracker of the penalty."""
        self.count = len(features_shape)
        channels = tower_shape(features_shape, "features")[-1]
        if channels % self.subspaces:
            raise ValueError(
                f"`subspaces` must divide the channels, {channels}. "
                f"Received: subspaces={self.subspaces}"
            )
        size = self.count * self.subspaces
        self.mixing = self.add_weight(
            name="mixing",
            shape=(size, size),
            initializer=keras.initializers.Constant(own_and_others(size, self.initial)),
        )
        if self.orthogonality:
            self.tracker = TrainingMean(name=log_key(self, "orthogonality_loss"))

    def call(self, features: Any, mask: Any = None, training: bool | None = None) -> tuple:
        """Mixtures of the towers' subspaces."""
        features = checked_towers(features, self.count, "features")
        if training and self.orthogonality:
            self._add_penalty(features, joint_mask(mask))
        parts = [part for x in features for part in ops.split(x, self.subspaces, axis=-1)]
        parts = mixed(self.mixing, parts)
        size = self.subspaces
        return tuple(
            ops.concatenate(parts[k * size : (k + 1) * size], axis=-1) for k in range(self.count)
        )

    def _add_penalty(self, features, mask):
        penalty = sum(self._overlap(x, mask_over_positions(mask, x)) for x in features)
        self.tracker.update_state(penalty)
        self.add_loss(self.orthogonality * penalty)

    def _overlap(self, features, mask):
        # Squares of sums over a batch leave the range of float16.
        features = ops.cast(features, self.variable_dtype)
        valid = ops.ones_like(features[..., :1])
        if mask is not None:
            valid = valid * ops.cast(ops.expand_dims(mask, -1), features.dtype)
        rows = ops.reshape(ops.where(valid > 0, features, 0.0), (-1, features.shape[-1]))
        moments = ops.matmul(ops.transpose(rows), rows) / ops.maximum(ops.sum(valid), 1.0)
        width = features.shape[-1] // self.subspaces
        blocks = ops.reshape(moments, (self.subspaces, width, self.subspaces, width))
        norms = ops.sum(ops.square(blocks), axis=(1, 3))
        return (ops.sum(norms) - ops.trace(norms)) / 2

    def compute_mask(self, features: Any, previous_mask: Any = None) -> tuple:
        """Valid where all towers are."""
        return (joint_mask(previous_mask),) * self.count

    def compute_output_shape(self, features_shape: tuple) -> tuple:
        """The shapes of the towers."""
        return tuple(tuple(shape) for shape in features_shape)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {
            **super().get_config(),
            "subspaces": self.subspaces,
            "initial": self.initial,
            "orthogonality": self.orthogonality,
        }
