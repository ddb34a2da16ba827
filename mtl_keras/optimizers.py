"""Optimizers: one for each part of a model."""

import re
from collections.abc import Mapping
from typing import Any

import keras

from mtl_keras.change import layers_of, part_names


def per_part(parts: Mapping[str, Any], default: Any = None) -> "PerPart":
    """An optimizer for `MultiTaskModel.compile`: one of its own for each part of the model.

    Args:
        parts: dict from a part to its Keras optimizer, or the name of one: "trunk" (all but the
            heads, and what a balancer trains itself), "heads", "heads/<task>", or a layer's
            name. One head or layer goes before the part that it belongs to.
        default: of what no part names; without it every weight must be in a part.

    Raises:
        ValueError: for no part. In `compile`: for a part that the model does not have, a layer
            in two parts, and weights in none.

    Example:

    >>> model = zoo.shared_trunk([BinaryTask("clicked"), RegressionTask("price")], 4, trunk=[8])
    >>> slow, fast = keras.optimizers.Adam(1e-4), keras.optimizers.Adam(1e-2)
    >>> model.compile(mtl_keras.optimizers.per_part({"trunk": slow, "heads": fast}))
    >>> [float(own.learning_rate) < 1e-3 for own in model.optimizer.optimizers[:2]]
    [True, False]
    """
    return PerPart(parts, default)


@keras.saving.register_keras_serializable(package="mtl_keras")
class PerPart:
    """Which optimizer each part of a model gets; see `per_part`.

    Args:
        parts: see there.
        default: see there.
    """

    def __init__(self, parts: Mapping[str, Any], default: Any = None):
        if not isinstance(parts, Mapping) or not parts:
            raise ValueError(
                f"`parts` must be a dict from parts to optimizers. Received: parts={parts!r}"
            )
        self.parts = {part: keras.optimizers.get(own) for part, own in parts.items()}
        self.default = None if default is None else keras.optimizers.get(default)

    def for_model(self, model: keras.Model) -> keras.optimizers.Optimizer:
        """Keras's optimizer of several, for the weights of this model.

        Raises:
            ValueError: as `per_part` says.
        """
        owners = _owners(model, list(self.parts))
        patterns = {part: [] for part in self.parts}
        for layer in model.layers:
            if layer.name in owners:
                patterns[owners[layer.name]].extend(_patterns(layer))
        if "trunk" in patterns and model.balancer_state:
            patterns["trunk"].extend(_patterns(model.balancer_state))
        by_pattern = {"|".join(own): self.parts[part] for part, own in patterns.items() if own}
        if self.default is None:
            _check_all_are_owned(model, by_pattern, self.parts)
        # Keras wants one for the rest, where there is none.
        rest = keras.optimizers.SGD(0.0) if self.default is None else self.default
        return keras.optimizers.MultiOptimizer(keras.optimizers.OptimizerMap(rest, by_pattern))

    def get_config(self) -> dict:
        """Constructor arguments."""
        serialize = keras.saving.serialize_keras_object
        parts = {part: serialize(own) for part, own in self.parts.items()}
        return {"parts": parts, "default": serialize(self.default)}

    @classmethod
    def from_config(cls, config: dict) -> "PerPart":
        """The inverse of `get_config`."""
        revive = keras.saving.deserialize_keras_object
        parts = {part: revive(own) for part, own in config["parts"].items()}
        return cls(parts, revive(config["default"]))


def _owners(model, parts):
    """By name of a layer, the part that it is in: the one that says most."""
    owners = {}
    # Whole first, so that a single head or layer takes its place.
    for part in sorted(parts, key=lambda part: part not in ("trunk", "heads")):
        for layer in layers_of(model, part):
            other = owners.get(layer.name, "trunk")
            if other not in ("trunk", "heads"):
                raise ValueError(
                    f"`parts` must name a layer once. Received: '{other}' and '{part}', which are "
                    "the same"
                )
            owners[layer.name] = part
    return owners


def _patterns(layer):
    """What matches the paths of a layer's weights, which in a loaded model may lack its name."""
    prefix = f"{layer.name}/"
    if all(weight.path.startswith(prefix) for weight in layer.weights):
        return [f"{re.escape(prefix)}.*"]
    return [re.escape(weight.path) for weight in layer.weights]


def _check_all_are_owned(model, by_pattern, parts):
    paths = [weight.path for weight in model.trainable_variables]
    left = [path for path in paths if not any(re.fullmatch(p, path) for p in by_pattern)]
    if left:
        raise ValueError(
            f"`parts` must be of all weights, or `default` be given; parts are "
            f"{part_names(model)}. Received: {list(parts)}, without {left[:3]}"
        )
