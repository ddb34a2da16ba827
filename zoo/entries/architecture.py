"""The architecture of an entry: its config, and which configs may become objects."""

import copy
import inspect
import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import keras

from mtl_keras import MultiTaskModel
from zoo.entries.lookups import needed, without_lookups
from zoo.entries.manifest import BadEntryError, read_limited
from zoo.entries.weights import check_described, described, variables_by_file

FILE_NAME = "architecture.json"

_OURS = "mtl_keras>"
_BACKENDS = "keras.src.backend."

_MODULES = (
    "keras",
    "keras.constraints",
    "keras.initializers",
    "keras.layers",
    "keras.losses",
    "keras.metrics",
    "keras.optimizers",
    "keras.optimizers.schedules",
    "keras.regularizers",
)
RUN_CODE = (
    "FlaxLayer",
    "JaxLayer",
    "Lambda",
    "TFSMLayer",
    "TorchModuleWrapper",
)
"""Layers that run code of their config, or of a file that it names: never made."""
_PLAIN = (
    "__ellipsis__",
    "__keras_tensor__",
    "__numpy__",
    "__slice__",
    "__tensor__",
    "__tuple__",
)


def write_architecture(path: str | os.PathLike, model: MultiTaskModel) -> None:
    """Writes the config of a model and of how it was compiled.

    Raises:
        BadEntryError: when it could not be read again.
    """
    config = json.loads(model.to_json())
    for value in _values(config):
        if isinstance(value, dict) and str(value.get("module")).startswith(_BACKENDS):
            # PyTorch has optimizers of its own behind Keras's names.
            value |= {"module": "keras.optimizers", "registered_name": None}
    check_config(config)
    Path(path).write_text(json.dumps(config, separators=(",", ":")) + "\n", "utf-8")


def read_config(folder: str | os.PathLike) -> dict[str, Any]:
    """The checked config of the model of an entry.

    Raises:
        BadEntryError: when the file describes no model, names a class that is neither Keras's nor
            ours, or one that runs code of the file.
    """
    try:
        config = json.loads(read_limited(Path(folder) / FILE_NAME))
    except (ValueError, RecursionError) as error:
        raise BadEntryError(f"{FILE_NAME} is not JSON: {error}. Received: {folder}") from error
    check_config(config)
    named = config.get("registered_name") if isinstance(config, dict) else config
    if named != f"{_OURS}MultiTaskModel":
        raise BadEntryError(
            f"{FILE_NAME} must describe a MultiTaskModel. Received: {str(named)[:200]!r}"
        )
    return config


def read_architecture(
    folder: str | os.PathLike, variables: Mapping[str, Mapping[str, Any]]
) -> MultiTaskModel:
    """The model of an entry, compiled, with fresh weights.

    On JAX and PyTorch it takes ids in the place of strings, see `zoo.entries.lookups`.

    Args:
        folder: the entry.
        variables: file name to key to shape and dtype: what the model must have. This is held
            against a draft of the model first, which takes no memory however large it is.

    Raises:
        BadEntryError: as `read_config`, and when what it describes cannot be built, or has other
            variables.
    """
    config = read_config(folder)
    try:
        config = without_lookups(config) if needed() else config
        check_described(_drafted_variables(config), variables)
        return keras.saving.deserialize_keras_object(config, safe_mode=True)
    except BadEntryError:
        raise
    except Exception as error:
        # Keras raises anything, from KeyError to AssertionError, where a config makes no sense.
        raise BadEntryError(
            f"{FILE_NAME} cannot be built ({type(error).__name__}: {error}). Received: {folder}"
        ) from error


def _drafted_variables(config):
    def draft():
        # Variables have a shape in there, and no value.
        with keras.StatelessScope(initialize_variables=False):
            model = MultiTaskModel.from_config(copy.deepcopy(config["config"]))
        return {name: described(held) for name, held in variables_by_file(model).items()}

    # Keras would give them a value later, in the thread that made them: that one ends here.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(draft).result()


def check_config(config: Any) -> None:
    """Refuses a config that names anything but known classes and functions.

    Known are the classes that Keras has under `keras.layers` and its like, without those that run
    code of a config or a file; its operations, activations, losses and metrics; and what is
    registered as "mtl_keras>..." and comes from `mtl_keras`.

    Raises:
        BadEntryError: naming what is refused.

    Example:

    >>> check_config({"module": "keras.layers", "class_name": "Dense", "config": {"units": 2}})
    >>> check_config({"module": "os", "class_name": "system", "config": "true"})
    Traceback (most recent call last):
    zoo.entries.manifest.BadEntryError: ... Received: 'os.system'
    """
    for value in _values(config):
        if isinstance(value, str):
            # Keras takes the name of what is registered for the thing itself.
            if value in keras.saving.get_custom_objects() and not _is_ours(value):
                _refuse(None, value)
        elif "class_name" in value and not _is_known(value):
            called = value.get("config") if value["class_name"] == "function" else None
            _refuse(value.get("module"), called or value["class_name"])
        elif isinstance(value.get("vocabulary"), str):
            raise BadEntryError(
                f"{FILE_NAME} must hold vocabularies itself, as lists. Received: a path, "
                f"{value['vocabulary'][:200]!r}"
            )


def _values(config) -> Iterator[Mapping | str]:
    """All dicts and strings in a config."""
    # A stack, not recursion: a hostile file may be as deep as it likes.
    stack = [config]
    while stack:
        value = stack.pop()
        if isinstance(value, (Mapping, str)):
            yield value
        if isinstance(value, Mapping):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)


def _is_known(node):
    name, module = node["class_name"], node.get("module")
    registered = node.get("registered_name")
    if not isinstance(name, str) or not isinstance(module, (str, type(None))):
        return False
    if module is None:
        return name in _PLAIN
    if name == "function":
        # Keras looks a function up by its config alone, whatever it is said to be registered as.
        return module == "builtins" and _is_function(node.get("config"))
    if module.startswith("mtl_keras."):
        return registered == f"{_OURS}{name}" and _is_ours(registered)
    return registered in (None, name) and _is_keras(module, name)


def _is_keras(module, name):
    if module == "keras.src.models.functional":
        return name == "Functional"
    if module not in _MODULES:
        return (module, name) in _operations()
    place = keras
    for part in module.split(".")[1:]:
        place = getattr(place, part)
    found = getattr(place, name, None)
    return hasattr(found, "from_config") and found.__name__ not in RUN_CODE


@cache
def _operations():
    """Modules and names of what may stand in a graph beside layers, such as Add or GetItem."""
    found, kinds = set(), [keras.Operation]
    while kinds:
        kind = kinds.pop()
        kinds.extend(kind.__subclasses__())
        if kind.__module__.startswith("keras.src.ops."):
            found.add((kind.__module__, kind.__name__))
    return found


def _is_function(name):
    return isinstance(name, str) and (name in _functions() or _is_ours(name))


@cache
def _functions():
    # Not those that make objects of configs.
    return {
        name
        for place in (keras.activations, keras.losses, keras.metrics)
        for name, found in vars(place).items()
        if inspect.isfunction(found) and name not in ("deserialize", "get", "serialize")
    }


def _is_ours(registered):
    found = keras.saving.get_custom_objects().get(registered)
    comes_from = getattr(found, "__module__", "").split(".")[0]
    return registered.startswith(_OURS) and comes_from == "mtl_keras"


def _refuse(module, name):
    said = f"{module}.{name}" if module else str(name)
    raise BadEntryError(
        f"{FILE_NAME} may name classes of Keras and of mtl_keras that only compute; nothing of it "
        f"was executed. Received: {said[:200]!r}"
    )
