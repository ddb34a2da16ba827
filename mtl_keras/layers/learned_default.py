"""LearnedDefault: a vector that stands for features that are not known."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_rate


@keras.saving.register_keras_serializable(package="mtl_keras")
class LearnedDefault(keras.layers.Layer):
    """y = x where a row's features are known, else a trained vector, 0 at first.

    In training a share of the known rows is taken for unknown: the default is then trained even
    where all features are known, and what follows learns not to rest on them. Unlike dropout,
    which hides single numbers and scales the rest, it says what is put in their place, in
    training and later.

    Args:
        rate: share of rows that are hidden in training; default 0.
        seed: of what is hidden.

    Call arguments:
        features: (batch, channels); finite, also where they are not known.
        known: (batch,), true or not 0 where they are.

    Output shape:
        that of the features

    Raises:
        ValueError: for a rate outside 0 to below 1.

    Example:

    >>> layer = mtl_keras.layers.LearnedDefault()
    >>> layer(np.ones((2, 3)), np.array([True, False])).numpy().tolist()
    [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]

    Reference:
        Zhao et al., 2019, Recommending What Video to Watch Next, section 4.3, where a feature of
        selection bias is missing when videos are ranked, and in 10 % of the training rows.
    """

    def __init__(self, rate: float = 0.0, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.rate = checked_rate(rate, "rate")
        self.seed = seed
        self.supports_masking = True
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, features_shape: tuple, known_shape: tuple) -> None:
        """Makes the default."""
        self.default = self.add_weight(
            name="default", shape=(features_shape[-1],), initializer="zeros"
        )

    def call(self, features: Any, known: Any, training: bool | None = None) -> Any:
        """The features, or the default."""
        known = ops.cast(known, "bool")
        if training and self.rate:
            draw = keras.random.uniform(ops.shape(known), seed=self.seed_generator)
            known = ops.logical_and(known, draw >= self.rate)
        # JAX's where does not take a variable.
        default = ops.cast(self.default, features.dtype)
        return ops.where(ops.expand_dims(known, -1), features, default)

    def compute_output_shape(self, features_shape: tuple, known_shape: tuple) -> tuple:
        """That of the features."""
        return tuple(features_shape)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
