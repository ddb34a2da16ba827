"""CrossStitch: towers read each other through a small matrix."""

from typing import Any

import keras

from mtl_keras.checks import checked_between
from mtl_keras.layers.towers import (
    checked_towers,
    joint_mask,
    mixed,
    own_and_others,
    tower_shape,
)


@keras.saving.register_keras_serializable(package="mtl_keras")
class CrossStitch(keras.layers.Layer):
    """x~_k = sum_l alpha_kl x_l: every tower goes on with a mixture of all towers.

    The towers are per task; only alpha is shared, one K x K matrix a channel (or one in all).
    It starts near the identity and learns who reads from whom. It mixes a channel with the
    same channel of the other towers: `NDDR` mixes all channels, `SluiceUnit` parts of them.

    Args:
        initial: what a tower first takes of itself, from 0 to 1; the others share the rest
            equally, so rows of alpha sum to one. Default 0.9. One tower alone takes 1.
        per_channel: whether every channel has its own alpha; default `True`, as in the paper.
        regularizer: of alpha; default none.

    Call arguments:
        features: a tuple of K tensors of one shape (batch, ..., channels).

    Output shape:
        A tuple of K shapes, that of the towers.

    Raises:
        ValueError: for a share outside 0 to 1, and for towers that differ in shape or number.

    Example:

    >>> layer = mtl_keras.layers.CrossStitch(initial=0.75)
    >>> mood, topic = layer((np.ones((2, 3)), np.zeros((2, 3))))
    >>> mood.numpy()[0].tolist(), topic.numpy()[0].tolist()
    ([0.75, 0.75, 0.75], [0.25, 0.25, 0.25])

    Reference:
        Misra et al., 2016, Cross-stitch Networks for Multi-task Learning, equation 1.
    """

    def __init__(
        self,
        initial: float = 0.9,
        per_channel: bool = True,
        regularizer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.initial = checked_between(initial, "initial", 0, 1)
        self.per_channel = bool(per_channel)
        self.regularizer = keras.regularizers.get(regularizer)
        self.supports_masking = True

    def build(self, features_shape: tuple) -> None:
        """Makes alpha, (K, K, channels) or (K, K, 1)."""
        self.count = len(features_shape)
        channels = tower_shape(features_shape, "features")[-1]
        start = own_and_others(self.count, self.initial)[..., None]
        self.mixing = self.add_weight(
            name="mixing",
            shape=(self.count, self.count, channels if self.per_channel else 1),
            initializer=keras.initializers.Constant(start),
            regularizer=self.regularizer,
        )

    def call(self, features: Any) -> tuple:
        """Mixtures of the towers."""
        return mixed(self.mixing, checked_towers(features, self.count, "features"))

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
            "initial": self.initial,
            "per_channel": self.per_channel,
            "regularizer": keras.regularizers.serialize(self.regularizer),
        }
