"""Weights as files: the trunk's, and each head's, keyed by the names of layers, never by order."""

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mtl_keras import MultiTaskModel
from zoo.entries.manifest import BadEntryError

TRUNK = "trunk.weights.h5"


def head_file(task: str) -> str:
    """The name of the file of a task's head."""
    return f"heads/{task}.weights.h5"


def variables_by_file(model: MultiTaskModel) -> dict[str, dict[str, Any]]:
    """File name to key to variable: heads are the layers that have a task's name.

    A key is the names of the layers around a variable, and its own, joined by "/": the same in
    every process, while Keras's paths depend on how a model was built.

    Raises:
        BadEntryError: when two variables would have one key.
    """
    files = {TRUNK: {}}
    owners = {layer: task.name for task in model.tasks for layer in _head_layers(task.name)}
    for layer in model.layers:
        file = head_file(owners[layer.name]) if layer.name in owners else TRUNK
        for key, variable in _keyed(layer, layer.name):
            if files.setdefault(file, {}).setdefault(key, variable) is not variable:
                raise BadEntryError(
                    "Layers that lie side by side must have different names, or their weights "
                    f"could not be told apart. Received: two variables {key!r}"
                )
    return files


def _head_layers(task):
    # Where the model changes logits, the head is the layer of the logits.
    return (task, f"{task}_logits")


def _keyed(layer, prefix) -> Iterator[tuple[str, Any]]:
    inner = layer.layers if isinstance(layer, keras.Model) else _children(layer)
    inside = {id(variable) for child in inner for variable in child.weights}
    for variable in layer.weights:
        if id(variable) not in inside:
            yield f"{prefix}/{variable.name}", variable
    for child in inner:
        yield from _keyed(child, f"{prefix}/{child.name}")


def _children(layer):
    return list(layer._flatten_layers(include_self=False, recursive=False))


def check_described(found: Mapping[str, Any], stated: Mapping[str, Any]) -> None:
    """Holds the variables of an architecture against those that a manifest states.

    Args:
        found: file name to key to shape and dtype.
        stated: the same, of the manifest.

    Raises:
        BadEntryError: naming the first that differs.
    """
    if set(found) != set(stated):
        raise BadEntryError(
            "The manifest must list the variables of the trunk and of each head that has any, "
            f"{sorted(found)} for this architecture. Received: {sorted(stated)}"
        )
    for name in sorted(found):
        for key in sorted(set(found[name]) | set(stated[name])):
            wanted, received = (side[name].get(key, "absent") for side in (found, stated))
            if wanted != received:
                raise BadEntryError(
                    f"{name}: variable {key!r} must be {wanted} for this architecture. "
                    f"Received: {received} in the manifest"
                )


def check_sizes(manifest: Mapping[str, Any]) -> None:
    """Holds the variables that a manifest states against the sizes of the files.

    Arrays that were never written take no place in an HDF5 file, and all that they say in memory.

    Raises:
        BadEntryError: when a file is smaller than its variables.
    """
    for name, variables in manifest["variables"].items():
        stated = sum(
            math.prod(own["shape"]) * np.dtype(own["dtype"]).itemsize for own in variables.values()
        )
        if stated > manifest["files"][name]["bytes"]:
            raise BadEntryError(
                f"{name} must hold its variables, {stated:,} bytes. "
                f"Received: a file of {manifest['files'][name]['bytes']:,} bytes"
            )


def described(variables: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Shapes and types of variables, as the manifest has them."""
    return {
        key: {
            "shape": list(variable.shape),
            "dtype": keras.backend.standardize_dtype(variable.dtype),
        }
        for key, variable in variables.items()
    }


def write(path: str | os.PathLike, variables: Mapping[str, Any]) -> None:
    """Writes variables to an HDF5 file, one data set a key."""
    import h5py

    with h5py.File(path, "w") as file:
        for key, variable in variables.items():
            file.create_dataset(key, data=keras.ops.convert_to_numpy(variable))


def read(
    folder: str | os.PathLike, name: str, expected: Mapping[str, Mapping[str, Any]]
) -> dict[str, np.ndarray]:
    """The arrays of a weight file, by key.

    Args:
        folder: the entry.
        name: name of the file.
        expected: key to shape and dtype: exactly these must be in it.

    Raises:
        BadEntryError: when the file holds other keys, shapes or types, or is no HDF5 file.
    """
    import h5py

    try:
        with h5py.File(Path(folder) / name, "r") as file:
            found = dict(_data_sets(file, name, list(expected)))
            return {key: _checked(name, key, found[key], expected[key]) for key in expected}
    except BadEntryError:
        raise
    except Exception as error:
        # The library raises anything, from KeyError to TypeError, where a file is damaged.
        raise BadEntryError(
            f"{name} is no complete HDF5 file ({error}). Received: {folder}"
        ) from error


def _data_sets(group, name, keys, prefix="") -> Iterator[tuple[str, Any]]:
    """The data sets `keys` of a group that must hold nothing else.

    What is asked for leads, not what is there: hard links can make a tree without an end.
    """
    import h5py

    inside: dict[str, list[str]] = {}
    for key in keys:
        first, _, rest = key.partition("/")
        inside.setdefault(first, []).append(rest)
    if set(group) != set(inside):
        missing, unknown = sorted(set(inside) - set(group)), sorted(set(group) - set(inside))
        raise BadEntryError(
            f"{name} must hold the variables of its part of the model. Received: in '/{prefix}' "
            f"without {missing[:3]}, with unknown {unknown[:3]}"
        )
    for first, rest in inside.items():
        # Other files are reached through links: nothing but plain members is read.
        if not isinstance(group.get(first, getlink=True), h5py.HardLink):
            raise BadEntryError(
                f"{name} must hold arrays alone. Received: a link at {prefix}{first}"
            )
        member = group[first]
        if not isinstance(member, h5py.Dataset if rest == [""] else h5py.Group):
            raise BadEntryError(
                f"{name} must hold arrays in groups. Received: {member} at {prefix}{first}"
            )
        if rest == [""]:
            yield f"{prefix}{first}", member
        else:
            yield from _data_sets(member, name, rest, f"{prefix}{first}/")


def _checked(name, key, dataset, expected):
    import h5py

    shape, dtype = list(dataset.shape), dataset.dtype
    layout = dataset.id.get_create_plist().get_layout()
    if layout not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) or dataset.external:
        raise BadEntryError(
            f"{name} must hold its arrays itself, in one piece and not compressed. Received: {key}"
        )
    # Checked before anything is read: objects in an HDF5 file can be pickles.
    if dtype.kind not in "fiub" or shape != expected["shape"] or dtype != expected["dtype"]:
        raise BadEntryError(
            f"{name}: {key} must be {expected['dtype']} {expected['shape']}. "
            f"Received: {dtype} {shape}"
        )
    values = dataset[()]
    if dtype.kind == "f" and not np.isfinite(values).all():
        raise BadEntryError(f"{name}: {key} must be finite. Received: NaN or infinite values")
    return values
