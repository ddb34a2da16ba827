"""From the plain values of a recipe to Keras objects."""

from collections.abc import Mapping
from typing import Any

import keras

import mtl_keras
from zoo.entries.architecture import RUN_CODE


def made(value: Any, steps_per_epoch: int = 1) -> Any:
    """What a recipe's value stands for: fresh objects in place of dicts that name a class.

    A dict with the name of a class under one of these keys is an object; the rest are its
    arguments:

    - "layer": a class of `keras.layers` or `mtl_keras.layers`;
    - "layers": a list of them, a `keras.Sequential`;
    - "sharing": a class of `mtl_keras.sharing`;
    - "rule": a class of `mtl_keras.balancing`;
    - "optimizer": a class of `keras.optimizers`;
    - "schedule": a class of `keras.optimizers.schedules`, which may be given `decay_epochs` in
      place of `decay_steps`.

    Args:
        value: numbers, strings, lists and dicts.
        steps_per_epoch: training steps in an epoch.

    Raises:
        ValueError: for a class that is not there or would run code of the recipe, or that does
            not take its arguments.

    Example:

    >>> made({"layer": "Dense", "units": 3}).units
    3
    >>> made([16, 8])
    [16, 8]
    """
    if isinstance(value, list):
        return [made(item, steps_per_epoch) for item in value]
    if not isinstance(value, Mapping):
        return value
    if "layers" in value:
        return keras.Sequential(made(value["layers"], steps_per_epoch))
    # An argument may have such a name too; its value is no name of a class.
    kind = next((kind for kind in _NAMESPACES if isinstance(value.get(kind), str)), None)
    arguments = {key: made(item, steps_per_epoch) for key, item in value.items() if key != kind}
    if kind is None:
        return arguments
    if "decay_epochs" in arguments:
        arguments["decay_steps"] = arguments.pop("decay_epochs") * steps_per_epoch
    try:
        return _class(kind, value[kind])(**arguments)
    except TypeError as error:
        raise ValueError(
            f"`{kind}` '{value[kind]}' does not take these arguments: {error}. Received: {value}"
        ) from error


_NAMESPACES = {
    "layer": (mtl_keras.layers, keras.layers),
    "sharing": (mtl_keras.sharing,),
    "rule": (mtl_keras.balancing,),
    "optimizer": (keras.optimizers,),
    "schedule": (keras.optimizers.schedules,),
}


def _class(kind, name):
    for namespace in _NAMESPACES[kind]:
        found = getattr(namespace, name, None)
        if isinstance(found, type) and name not in RUN_CODE:
            return found
    places = " or ".join(namespace.__name__ for namespace in _NAMESPACES[kind])
    raise ValueError(f"`{kind}` must be a class of {places}. Received: {kind}={name!r}")
