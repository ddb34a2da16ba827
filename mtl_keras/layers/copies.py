"""Independent copies of layers and initializers: equal arguments, draws of their own."""

import uuid
from typing import Any

import keras
import numpy as np
from keras import ops


def independent_layer(layer: keras.layers.Layer, *index: int, **changes: Any) -> Any:
    """A new layer with the arguments of `layer`, weights and random draws of its own.

    Args:
        layer: the prototype; never built or called here.
        index: which copy it is; seeds in the arguments are derived from it, or kept without it.
        changes: arguments of the copy that differ, such as its name.
    """
    try:
        return type(layer).from_config(_for_copy(layer.get_config(), index) | changes)
    except TypeError as error:
        # Keras hides what a constructor says of a change behind a dump of the config.
        if isinstance(error.__context__, ValueError):
            raise error.__context__ from None
        raise


def independent_initializer(initializer: Any, *index: int) -> Any:
    """A copy of an initializer (name, object or function) that draws for itself.

    Keras resolves a name once, and one object gives every kernel the same draw.
    """
    initializer = keras.initializers.get(initializer)
    if not isinstance(initializer, keras.initializers.Initializer):
        return initializer
    return type(initializer).from_config(_for_copy(initializer.get_config(), index))


class StackedInitializer(keras.initializers.Initializer):
    """Draws a stack of kernels, each as `initializer` draws one: own values and own fan.

    Args:
        initializer: name, object or function, for one kernel.
        axis: the axis of the stack; 1 for kernels (in, experts, out).
        index: tells apart the stacks that one layer draws from one initializer.
    """

    def __init__(self, initializer: Any, axis: int, *index: int):
        self.initializer = initializer
        self.axis = axis
        self.index = index

    def __call__(self, shape, dtype=None):
        """Draws each kernel on its own."""
        shape = list(shape)
        count = shape.pop(self.axis)
        copies = [independent_initializer(self.initializer, *self.index, i) for i in range(count)]
        return ops.stack([copy(tuple(shape), dtype=dtype) for copy in copies], self.axis)


def _for_copy(config, index, tag=None):
    """A config with seeds derived for one copy, which shares no inner layer with another.

    Keras marks inner layers that occur twice; while a model is loaded these marks would make
    them one across copies too.
    """
    tag = tag or uuid.uuid4().hex
    if isinstance(config, dict):
        return {key: _value_for_copy(key, value, index, tag) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return type(config)(_for_copy(value, index, tag) for value in config)
    return config


def _value_for_copy(key, value, index, tag):
    if key == "shared_object_id":
        return f"{value}-{tag}"
    if key == "seed" and isinstance(value, int) and not isinstance(value, bool):
        return _derived(value, index) if index else value
    return _for_copy(value, index, tag)


def _derived(seed, index):
    # Hashed, so that copy 1 of seed 0 is not copy 0 of seed 1.
    return int(np.random.SeedSequence([abs(seed), *index]).generate_state(1)[0] >> 1)


def pattern_config(layer: keras.layers.Layer) -> dict:
    """A layer as it goes into a config: its arguments, whether it was built or not."""
    config = keras.saving.serialize_keras_object(layer)
    config.pop("build_config", None)
    return config
