"""SkipMixture: a task reads all depths of its tower."""

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
class SkipMixture(keras.layers.Layer):
    """y = sum_l beta_l x_l over the L layers of a tower: what each depth has to say.

    With tasks of different levels, such as tagging and parsing, a head learns how deep it has
    to read. Beta has one number a layer.

    Args:
        initial: what beta first takes of the last layer, from 0 to 1; the others share the
            rest equally. Default 0.9. One layer alone takes 1.

    Call arguments:
        features: a tuple of L tensors of one shape (batch, ..., channels), the last one from
            the top.

    Output shape:
        That of each layer.

    Raises:
        ValueError: for a share outside 0 to 1, and for layers that differ in shape or number.

    Example:

    >>> layer = mtl_keras.layers.SkipMixture(initial=0.75)
    >>> layer((np.zeros((1, 3)), np.ones((1, 3)))).numpy().tolist()
    [[0.75, 0.75, 0.75]]

    Reference:
        Ruder et al., 2019, Latent Multi-task Architecture Learning, the beta parameters,
        which start with a bias towards the last layer.
    """

    def __init__(self, initial: float = 0.9, **kwargs: Any):
        super().__init__(**kwargs)
        self.initial = checked_between(initial, "initial", 0, 1)
        self.supports_masking = True

    def build(self, features_shape: tuple) -> None:
        """Makes beta, (L,)."""
        tower_shape(features_shape, "features")
        self.count = len(features_shape)
        start = own_and_others(self.count, self.initial)[-1]
        self.mixing = self.add_weight(
            name="mixing", shape=(self.count,), initializer=keras.initializers.Constant(start)
        )

    def call(self, features: Any) -> Any:
        """The mixture of the layers."""
        (mixture,) = mixed(self.mixing[None], checked_towers(features, self.count, "features"))
        return mixture

    def compute_mask(self, features: Any, previous_mask: Any = None) -> Any:
        """Valid where all layers are."""
        return joint_mask(previous_mask)

    def compute_output_shape(self, features_shape: tuple) -> tuple:
        """The shape of a layer."""
        return tuple(features_shape[0])

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {**super().get_config(), "initial": self.initial}
