"""An entry's folder: written whole from a model, read back after all in it is checked."""

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mtl_keras import MultiTaskModel
from mtl_keras.atomic import atomic_output
from zoo.entries import weights
from zoo.entries.architecture import FILE_NAME as ARCHITECTURE
from zoo.entries.architecture import read_architecture, read_config, write_architecture
from zoo.entries.card import CARD, card
from zoo.entries.inputs import described_inputs
from zoo.entries.lookups import encoded, lookups_of, needed
from zoo.entries.manifest import (
    FILE_NAME,
    SCHEMA,
    BadEntryError,
    check_files,
    checked_manifest,
    digest_of,
    read_manifest,
)

TOLERANCE = 1e-5
"""How far a golden output may be from what a model gives, of numbers beyond 1 as a share."""

_ROWS = 4
_NUMBERS = 5000


def save(
    model: MultiTaskModel,
    path: str | os.PathLike,
    example: Mapping[str, Any],
    *,
    title: str | None = None,
    data_licence: str = "none stated",
    weights_licence: str = "none stated",
    recipe: Mapping[str, Any] | None = None,
    **sections: Any,
) -> Path:
    """Writes a model as an entry of the zoo: a folder that `zoo.load` reads.

    Weights are in `trunk.weights.h5` and a file a head, the manifest holds digests, shapes and
    what the model answers to the example, and `README.md` is the card, made from the manifest.
    The folder appears whole or not at all, after it was read back and gave the same answers.
    Not in it: the optimizer's, the balancer's and the penalties' states, which `model.save` keeps.

    Args:
        model: a compiled model, of Keras's and mtl_keras's layers.
        path: new folder.
        example: inputs by name, (rows, ...); the first four rows become the golden input.
        title: one line; default the model's name.
        data_licence: licence of the data it was trained on, one line.
        weights_licence: licence of the weights, one line.
        recipe: how it was trained, the content of `recipe.json`.
        sections: further sections of the manifest: see `manifest.schema.json`.

    Returns:
        `path`.

    Raises:
        ValueError: for a model that is no `MultiTaskModel` or not compiled, an example that lacks
            inputs, layers that a reader would refuse (Lambda, a class of one's own), and
            sections that do not follow the schema.
        FileExistsError: when `path` exists.
        OSError: when it cannot be written.

    Example:

    >>> import tempfile
    >>> import mtl_keras as mtl
    >>> model = zoo.shared_trunk([mtl.BinaryTask("clicked")], 4, trunk=[8])
    >>> folder = save(model, tempfile.mkdtemp() + "/mine", {"features": np.ones((2, 4))})
    >>> sorted(file.name for file in folder.iterdir())
    ['README.md', 'architecture.json', 'heads', 'manifest.json', 'trunk.weights.h5']
    """
    _check_model(model)
    golden = _golden(model, example)
    with atomic_output(path) as folder:
        (folder / "heads").mkdir(parents=True)
        write_architecture(folder / ARCHITECTURE, model)
        variables = weights.variables_by_file(model)
        for name, held in variables.items():
            weights.write(folder / name, held)
        names = [ARCHITECTURE, *variables]
        if recipe is not None:
            (folder / "recipe.json").write_text(json.dumps(recipe, indent=1) + "\n", "utf-8")
            names.append("recipe.json")
        manifest = {
            "schema": SCHEMA,
            "title": title or model.name,
            "tasks": [_described(task) for task in model.tasks],
            "inputs": described_inputs(model),
            "files": {name: digest_of(folder / name) for name in names},
            "variables": {name: weights.described(held) for name, held in variables.items()},
            "requires": {"keras": keras.__version__.rpartition(".")[0]},
            "licences": {"data": data_licence, "weights": weights_licence},
            "golden": golden,
            **sections,
        }
        checked_manifest(manifest, str(path))
        (folder / FILE_NAME).write_text(_readable(manifest), "utf-8")
        (folder / CARD).write_text(card(manifest, f"./{Path(path).name}"), "utf-8")
        check_golden(read(folder), folder)
    return Path(path)


def read(folder: str | os.PathLike, pretrained: bool = True) -> MultiTaskModel:
    """The compiled model of an entry's folder, with its weights or with a fresh draw.

    Nothing is executed that the folder brings: files are held against their digests, classes
    against those that are known, weights against the names, shapes and types of the variables.

    Args:
        folder: the entry.
        pretrained: whether the model gets the entry's weights.

    Raises:
        FileNotFoundError: when there is no entry.
        BadEntryError: (a `ValueError`) when the entry is damaged, lies, or is not safe.
    """
    manifest = read_manifest(folder)
    _check_keras(manifest, folder)
    _check_listed(manifest)
    check_files(folder, manifest)
    weights.check_sizes(manifest)
    model = read_architecture(folder, manifest["variables"])
    _check_tasks(model, manifest)
    _check_inputs(model, manifest, folder)
    for name, variables in weights.variables_by_file(model).items():
        values = weights.read(folder, name, manifest["variables"][name])
        if pretrained:
            for key, variable in variables.items():
                variable.assign(values[key])
    for layer in model._flatten_layers():
        # It computes with what it has made of its variables.
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()
    return model


def check_golden(
    model: MultiTaskModel,
    folder: str | os.PathLike,
    tasks: Sequence[str] | None = None,
    output: Mapping[str, Any] | None = None,
) -> float:
    """Holds the model's answer to the golden input against the golden output.

    Args:
        model: what `read` gave.
        folder: the entry.
        tasks: names of those that are held; default all.
        output: by task, in place of the golden output.

    Returns:
        The largest difference, of numbers beyond 1 as a share of them.

    Raises:
        BadEntryError: when it is larger than `TOLERANCE`.
    """
    manifest = read_manifest(folder)
    x = golden_input(manifest)
    try:
        found = model.predict(as_taken(x, folder), verbose=0)
    except Exception as error:
        # Each backend has errors of its own for what a model cannot take.
        raise BadEntryError(
            f"The model must take the golden input ({type(error).__name__}: {error}). "
            f"Received: {folder}"
        ) from error
    largest = 0.0
    golden = manifest["golden"]["output"] if output is None else golden_part(manifest, output)
    part = golden_part(manifest, found)
    for task in golden if tasks is None else tasks:
        expected, given = _array(golden[task], "float64"), np.asarray(part[task], "float64")
        if expected.shape != given.shape:
            raise BadEntryError(
                f"The golden output of '{task}' must be of shape {given.shape}. "
                f"Received: {expected.shape}"
            )
        # Of numbers beyond 1 the share: float32 has seven digits, wherever the point is.
        apart = np.abs(expected - given) / np.maximum(1, np.abs(expected))
        # Not `apart > ...`: a NaN must fail.
        if not (apart <= TOLERANCE).all():
            raise BadEntryError(
                f"The model must answer the golden input with the golden output of '{task}' to "
                f"{TOLERANCE}. Received: a difference of {apart.max()}"
            )
        largest = max(largest, float(apart.max(initial=0)))
    return largest


def as_taken(x: Mapping[str, Any], folder: str | os.PathLike) -> dict[str, Any]:
    """Raw input as the model takes it: as it is, or on JAX and PyTorch with ids for strings."""
    lookups = lookups_of(read_config(folder)) if needed() else {}
    return encoded(lookups, x)


def golden_part(manifest: Mapping[str, Any], answers: Mapping[str, Any]) -> dict[str, Any]:
    """Of a model's answers, by task, what the golden output has of them: all, or every n-th number.

    Raises:
        BadEntryError: when it has a part of a task that was not answered.
    """
    every = manifest["golden"].get("every", {})
    if not set(every) <= set(manifest["golden"]["output"]):
        raise BadEntryError(
            f"`every` must be of tasks of the golden output. Received: {sorted(every)}"
        )
    return {
        task: np.reshape(values, -1)[:: every[task]] if task in every else values
        for task, values in answers.items()
    }


def golden_input(manifest: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The golden input as arrays.

    Raises:
        BadEntryError: when it is not of the inputs, or no arrays.
    """
    dtypes, given = {own["name"]: own["dtype"] for own in manifest["inputs"]}, manifest["golden"]
    if set(given["input"]) != set(dtypes):
        raise BadEntryError(
            f"The golden input must be of the inputs, {sorted(dtypes)}. "
            f"Received: {sorted(given['input'])}"
        )
    return {name: _array(values, dtypes[name]) for name, values in given["input"].items()}


def _array(values, dtype):
    try:
        return np.array(values, object if dtype == "string" else dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadEntryError(
            f"The golden values must be arrays of {dtype} ({error}). Received: {values!r:.200}"
        ) from error


def _golden(model, example):
    names = {tensor.name: tensor for tensor in keras.tree.flatten(model.inputs)}
    if not isinstance(example, Mapping) or set(example) != set(names):
        received = sorted(example) if isinstance(example, Mapping) else type(example).__name__
        raise ValueError(
            f"`example` must be a dict of the model's inputs, {sorted(names)}. Received: {received}"
        )
    rows = {name: _rows(example[name], tensor.dtype) for name, tensor in names.items()}
    counts = {name: len(values) if values.ndim else None for name, values in rows.items()}
    if len({*counts.values()}) > 1 or not all(counts.values()):
        raise ValueError(
            "`example` must hold arrays (rows, ...) of one or more rows, as many of each input. "
            f"Received: rows {counts}"
        )
    output = {t: np.asarray(values) for t, values in model.predict(rows, verbose=0).items()}
    golden = {"input": {name: _plain(values) for name, values in rows.items()}, "output": output}
    steps = {task: _step(values.shape) for task, values in output.items()}
    if max(steps.values()) > 1:
        golden["every"] = {task: step for task, step in steps.items() if step > 1}
    part = golden_part({"golden": golden}, output)
    return golden | {"output": {task: values.tolist() for task, values in part.items()}}


def _step(shape):
    """1 for a few thousand numbers; for more a step to keep as few, and some of each column."""
    step = -(-math.prod(shape) // _NUMBERS)
    while math.gcd(step, shape[-1]) > 1 < step:
        step += 1
    return step


def _rows(values, dtype):
    values = np.asarray(values)
    values = values[:_ROWS] if values.ndim else values
    return values.astype(object) if dtype == "string" else values.astype(dtype)


def _plain(values):
    # Texts come as bytes from tf.data.
    if values.dtype == object:
        return [v.decode("utf-8") if isinstance(v, bytes) else str(v) for v in values]
    return values.tolist()


def _readable(manifest):
    # Lists of numbers on one line each, not one line a number.
    text = json.dumps(manifest, indent=1)
    lists = re.compile(r"\[[^\[\]{}]*\]")
    return lists.sub(lambda found: re.sub(r"\n\s*", " ", found[0]), text) + "\n"


def _described(task):
    return {
        "name": task.name,
        "kind": type(task).__name__,
        "units": task.units,
        "score": task.score,
        "direction": task.direction,
    }


def _check_model(model):
    if not isinstance(model, MultiTaskModel) or not model.compiled:
        raise ValueError(
            "`model` must be a compiled MultiTaskModel. Received: "
            f"{type(model).__name__}, compiled={getattr(model, 'compiled', None)}"
        )


def _check_keras(manifest, folder):
    from packaging.version import Version

    least = manifest["requires"]["keras"]
    if Version(keras.__version__) < Version(least):
        raise BadEntryError(
            f"The entry needs Keras {least} or newer: pip install -U keras. Received: Keras "
            f"{keras.__version__}, {folder}"
        )


def _check_tasks(model, manifest):
    stated, found = manifest["tasks"], [_described(task) for task in model.tasks]
    if stated != found:
        raise BadEntryError(
            f"The manifest must list the tasks of {ARCHITECTURE}, {_names(found)}, as they are "
            f"there. Received: {_names(stated)}"
        )
    if set(manifest["golden"]["output"]) != {task["name"] for task in found}:
        raise BadEntryError(
            f"The golden output must be of the tasks, {_names(found)}. "
            f"Received: {sorted(manifest['golden']['output'])}"
        )
    units = {task["name"]: task["units"] for task in found}
    for name, classes in manifest.get("classes", {}).items():
        if len(classes) != units.get(name):
            raise BadEntryError(
                f"`classes` must name each class of a task: {units.get(name, 0)} of {name!r}. "
                f"Received: {len(classes)} names"
            )


def _check_inputs(model, manifest, folder):
    # Lookups outside the model change its inputs.
    skipped = lookups_of(read_config(folder)) if needed() else {}
    stated, found = (
        {own["name"]: (own["shape"], own["dtype"]) for own in inputs}
        for inputs in (manifest["inputs"], described_inputs(model))
    )
    for name in sorted(set(stated) | set(found)):
        if name not in stated or (stated[name] != found.get(name) and name not in skipped):
            raise BadEntryError(
                f"The manifest must list the inputs of {ARCHITECTURE}: {name!r} is "
                f"{found.get(name, 'absent')} there. Received: {stated.get(name, 'absent')}"
            )


def _names(tasks: Sequence[Mapping]) -> list[str]:
    return [task["name"] for task in tasks]


def _check_listed(manifest):
    files = set(manifest["files"]) - {ARCHITECTURE, "recipe.json"}
    if files != set(manifest["variables"]):
        raise BadEntryError(
            "The manifest must list the digest of each file that has variables. Received: files "
            f"{sorted(files)}, variables of {sorted(manifest['variables'])}"
        )
