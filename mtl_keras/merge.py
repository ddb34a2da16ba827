"""Several models that were fine-tuned from one, made into one without training.

What fine-tuning added to the weights is a model's task vector. Every rule adds to the weights of
the model that all began from a combination of the task vectors.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from mtl_keras.checks import checked_between, checked_choice


def average(vectors: np.ndarray, density: float) -> np.ndarray:
    """The mean of the task vectors, (models, weights): that of the models' weights."""
    return vectors.mean(axis=0)


def task_arithmetic(vectors: np.ndarray, density: float) -> np.ndarray:
    """The sum of the task vectors (Ilharco 2023, section 2)."""
    return vectors.sum(axis=0)


def ties(vectors: np.ndarray, density: float) -> np.ndarray:
    """Trim, elect a sign, take the mean of those that have it (Yadav 2023, algorithm 1).

    Where what is kept cancels out, no sign is elected and nothing is added.
    """
    kept = np.where(np.abs(vectors) >= _least_kept(vectors, density), vectors, 0)
    agrees = (np.sign(kept) == np.sign(kept.sum(axis=0))) & (kept != 0)
    return (kept * agrees).sum(axis=0) / np.maximum(agrees.sum(axis=0), 1)


def _least_kept(vectors, density):
    """The magnitude, (models, 1), below which an entry is trimmed."""
    first = vectors.shape[1] - max(1, round(density * vectors.shape[1]))
    return np.partition(np.abs(vectors), first, axis=1)[:, first : first + 1]


# Each with the factor for want of data to tune it on, as in Yadav 2023, section 6.
RULES = {"average": (average, 1.0), "task_arithmetic": (task_arithmetic, 0.4), "ties": (ties, 1.0)}


def rule(method: str, scale: float | None, density: float) -> Callable[[np.ndarray], np.ndarray]:
    """What is added to the weights, (weights,), of task vectors, (models, weights).

    Raises:
        ValueError: for an unknown method, a scale that is no number, a density outside [0, 1].
    """
    combine, usual = RULES[checked_choice(method, "method", tuple(RULES))]
    factor = usual if scale is None else checked_between(scale, "scale", -math.inf, math.inf)
    kept = checked_between(density, "density", 0, 1)
    return lambda vectors: factor * combine(vectors, kept)


class Merger:
    """Joins the graphs and the weights of models; see `mtl_keras.change.Changeable.merge`.

    Args:
        base: the model that all began from.
        models: the fine-tuned ones.

    Raises:
        ValueError: unless they can have been fine-tuned from the base, have layers of their own,
            and nothing of the same name that the base does not have.
    """

    def __init__(self, base: keras.Model, models: Sequence[keras.Model]):
        self._base, self._models = base, _checked_models(base, models)
        self._origin = _by_name(base)
        self._owners = [_by_name(model) for model in self._models]
        for name, owners in self._holders().items():
            _check_layer(name, self._origin.get(name), [self._owners[i][name] for i in owners])

    @property
    def tasks(self) -> list[Any]:
        """The tasks of the models; one that several have is that of the first."""
        models = reversed(self._models)
        named = {task.name: task for model in models for task in model.tasks}
        order = dict.fromkeys(task.name for model in self._models for task in model.tasks)
        return [named[name] for name in order]

    def graph(self) -> tuple[Any, dict[str, Any], dict[str, Any]]:
        """New inputs, the outputs by task, and copies of the layers, by name, between them."""
        inputs = keras.tree.map_structure(
            lambda x: keras.Input(batch_shape=x.shape, dtype=x.dtype, name=x.name),
            self._base._inputs_struct,
        )
        copies, called, outputs = {}, {}, {}

        def copied(layer):
            if layer.name not in copies:
                # What has no weights may serve both models.
                own = _variables(layer)
                copies[layer.name] = type(layer).from_config(layer.get_config()) if own else layer
            return copies[layer.name]

        def call(layer, *args, **kwargs):
            # What several models make of the same tensors is made once.
            key = (layer.name, *map(_identity, keras.tree.flatten((args, kwargs))))
            if key not in called:
                called[key] = layer(*args, **kwargs)
            return called[key]

        for model in self._models:
            graph = keras.Model(model._inputs_struct, dict(model.output))
            outputs |= keras.models.clone_model(graph, inputs, copied, call).output
        return inputs, outputs, copies

    def fill(self, copies: Mapping[str, Any], rule: Callable[[np.ndarray], np.ndarray]) -> None:
        """Gives the copies their weights.

        Args:
            copies: the layers by name.
            rule: what is added to the base's weights, (weights,), of the task vectors,
                (models, weights).
        """
        groups = defaultdict(list)
        for name, owners in self._holders().items():
            # What one of several models has alone, its head say, is as that model has it.
            alone = len(owners) == 1 < len(self._models) or name not in self._origin
            groups[owners, not alone].append(name)
        for (owners, mixes), names in groups.items():
            ends = [_values(self._owners[i], names) for i in owners]
            values = ends[0]
            if mixes:
                values = _mixed(_values(self._origin, names), ends, self._trained(names), rule)
            new = [v for name in names for v in _variables(copies[name])]
            for variable, value in zip(new, values, strict=True):
                variable.assign(value)

    def _holders(self):
        """Layer name to the numbers of the models that have it."""
        names = dict.fromkeys(name for own in self._owners for name in own)
        return {
            name: tuple(i for i, own in enumerate(self._owners) if name in own) for name in names
        }

    def _trained(self, names):
        """Whether each variable of these layers trains, in any model."""
        all_of = [own for own in (self._origin, *self._owners) if names[0] in own]
        flags = [[v.trainable for name in names for v in _variables(own[name])] for own in all_of]
        return [any(own) for own in zip(*flags, strict=True)]


def _checked_models(base, models):
    given = list(models) if isinstance(models, (list, tuple)) else []
    if not given or not all(isinstance(model, type(base)) for model in given):
        raise ValueError(
            f"`models` must be a list of {type(base).__name__}s, one or more. Received: {models!r}"
        )
    expected = _inputs(base)
    for number, model in enumerate(given):
        if _inputs(model) != expected:
            raise ValueError(
                f"`models` must have the inputs of the model that they were fine-tuned from, "
                f"{expected}. Received: models[{number}] with {_inputs(model)}"
            )
    return given


def _inputs(model):
    return {x.name: (tuple(x.shape), x.dtype) for x in keras.tree.flatten(model._inputs_struct)}


def _check_layer(name, origin, owned):
    """ValueError unless the layers of a name are one layer, or copies of it."""
    weighty = any(_variables(layer) for layer in owned)
    if weighty and any(layer is origin for layer in owned):
        raise ValueError(
            "`models` must have layers of their own: fine-tune copies, loaded from where the "
            f"first model is saved. Received: a model on the same layer '{name}'"
        )
    if weighty and origin is None and len(owned) > 1:
        raise ValueError(
            "`models` must not share tasks or layers that the model they were fine-tuned from "
            f"does not have. Received: '{name}' in {len(owned)} models"
        )
    kinds = [_kind(layer) for layer in owned if origin is None] or [_kind(origin)]
    for layer in owned:
        if _kind(layer) != kinds[0]:
            raise ValueError(
                "`models` must have been fine-tuned from this model: layers of a name must be "
                f"alike. Received: '{name}' as {_kind(layer)} and {kinds[0]}"
            )


def _kind(layer):
    """What two copies of a layer have in common: the shapes of its weights, or its config."""
    shapes = [tuple(variable.shape) for variable in _variables(layer)]
    config = shapes or keras.saving.serialize_keras_object(layer)["config"]
    return type(layer).__name__, config


def _by_name(model):
    return {own.name: own for own in model.operations if not _is_input(own)}


def _is_input(operation):
    return isinstance(operation, keras.layers.InputLayer)


def _variables(layer):
    return getattr(layer, "weights", [])


def _identity(argument):
    plain = isinstance(argument, (str, int, float, type(None)))
    return repr(argument) if plain else id(argument)


def _values(named, names):
    variables = [variable for name in names for variable in _variables(named[name])]
    return [keras.ops.convert_to_numpy(variable) for variable in variables]


def _mixed(start, ends, trained, rule):
    """The merged values of variables: what trains by the rule, other floats by their mean."""
    flat = [_flat(end, trained) - _flat(start, trained) for end in ends]
    added, at = rule(np.stack(flat)) if any(trained) else None, 0
    for begin, trains, *own in zip(start, trained, *ends, strict=True):
        if trains:
            yield begin + added[at : at + begin.size].reshape(begin.shape)
            at += begin.size
        else:
            # Moving statistics; what counts or seeds is the base's.
            yield np.mean(own, axis=0) if np.issubdtype(begin.dtype, np.floating) else begin


def _flat(values, trained):
    kept = [np.ravel(value) for value, trains in zip(values, trained, strict=True) if trains]
    flat = np.concatenate([np.zeros(0, "float32"), *kept])
    if not np.isfinite(flat).all():
        raise ValueError("`models` must have finite weights. Received: NaN or infinity in one")
    return flat
