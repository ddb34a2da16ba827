"""What the adapters have in common: the layer that they are put around."""

from typing import Any

import keras
from keras import ops

from mtl_keras.layers.copies import pattern_config


class Adapter(keras.layers.Layer):
    """A small task-dependent change of the output of a layer, or of the features themselves.

    The layer given is used, not copied: a trained one keeps its weights, and one that is
    frozen (`layer.trainable = False`) stays frozen. It keeps its own dtype policy too.

    Args:
        layer: any layer with one output (batch, ..., channels), such as a Dense; `None` to
            adapt the features that come in.

    Raises:
        ValueError: when `layer` is not a Keras layer.
    """

    def __init__(self, layer: keras.layers.Layer | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if layer is not None and not isinstance(layer, keras.layers.Layer):
            raise ValueError(f"`layer` must be a Keras layer or None. Received: layer={layer!r}")
        self.layer = layer
        self.supports_masking = True

    def build_layer(self, features_shape: tuple) -> tuple:
        """Builds the layer where nobody has; returns the shape of its output."""
        if self.layer is not None and not self.layer.built:
            self.layer.build(features_shape)
        return self.output_shape_of_layer(features_shape)

    def output_shape_of_layer(self, features_shape: tuple) -> tuple:
        """The shape of `output_of_layer`."""
        if self.layer is None:
            return tuple(features_shape)
        return tuple(self.layer.compute_output_shape(features_shape))

    def output_of_layer(self, features: Any) -> Any:
        """What is to be adapted, in the compute dtype of the adapter."""
        if self.layer is None:
            return features
        return ops.cast(self.layer(features), self.compute_dtype)

    def compute_output_shape(self, features_shape, context_shape):
        """The shape of the layer's output."""
        return self.output_shape_of_layer(features_shape)

    def compute_mask(self, features, previous_mask=None):
        """The mask that the layer passes on."""
        if self.layer is None:
            return previous_mask
        if not self.layer.supports_masking:
            return None
        return self.layer.compute_mask(features, previous_mask)

    def get_config(self):
        """All arguments."""
        # Built with its own config, the revived layer would lose this one's name from its paths.
        layer = None if self.layer is None else pattern_config(self.layer)
        return {**super().get_config(), "layer": layer}

    @classmethod
    def from_config(cls, config):
        """Revives the layer inside as well."""
        layer = config.get("layer")
        if isinstance(layer, dict):
            config = {**config, "layer": keras.saving.deserialize_keras_object(layer)}
        return cls(**config)
