"""From what a user types to a model's inputs: every mistake named before a model is asked."""

import difflib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

_SHOWN = 80  # Letters of a wrong value in a message.


def parsed(typed: str, inputs: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """The arrays that a model predicts from.

    Args:
        typed: JSON: an object of columns, {"age": [38, 20]}, or of one row, {"age": 38}, or a
            list of such rows; the path of a `.json` file that holds it, or "-" for standard
            input. For a model whose one input is a text, also just the text.
        inputs: the section of the manifest: "name", "shape" of a row and "dtype" of each.

    Raises:
        ValueError: for missing and unknown inputs, and for values of another type or shape.
        OSError: when the file cannot be read.

    Example:

    >>> age = {"name": "age", "shape": [], "dtype": "float32"}
    >>> parsed('{"age": 38}', [age]), parsed('[{"age": 38}, {"age": 20}]', [age])
    ({'age': array([38.], dtype=float32)}, {'age': array([38., 20.], dtype=float32)})
    """
    value = _decoded(_content(typed), inputs)
    columns = _columns(value, {own["name"]: own for own in inputs})
    counts = {name: len(column) for name, column in columns.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        raise ValueError(f"Inputs must have equally many rows, one or more. Received: {counts}")
    return {own["name"]: _array(columns[own["name"]], own) for own in inputs}


def _content(typed):
    if typed == "-":
        return sys.stdin.read()
    if typed.endswith(".json") and not typed.lstrip().startswith(("{", "[")):
        return Path(typed).read_text("utf-8")
    return typed


def _decoded(text, inputs):
    is_text = len(inputs) == 1 and inputs[0]["dtype"] == "string" and not inputs[0]["shape"]
    if is_text and not text.lstrip().startswith("{"):
        # A text may begin with a bracket, as [sic].
        return _json_or_none(text, list) or [text.rstrip("\n")]
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        names = [own["name"] for own in inputs]
        raise ValueError(
            f"INPUT must be JSON with the inputs {_some(names)}, or the path of a .json file "
            f"({error}). Received: {_short(text)}"
        ) from error


def _json_or_none(text, kind):
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return None
    return value if isinstance(value, kind) else None


def _columns(value, inputs):
    """By input name a list of values, one a row."""
    if isinstance(value, Mapping):
        _check_names(value, inputs, "INPUT")
        return _as_columns(value, inputs)
    if not isinstance(value, list) or not value:
        raise ValueError(
            "INPUT must be an object of columns or of one row, or a list of rows. "
            f"Received: {_short(value)}"
        )
    rows = []
    for i, row in enumerate(value):
        if len(inputs) == 1 and isinstance(row, str):
            row = dict.fromkeys(inputs, row)
        if not isinstance(row, Mapping):
            raise ValueError(f"Row {i + 1} must be an object. Received: {_short(row)}")
        _check_names(row, inputs, f"Row {i + 1}")
        rows.append(row)
    return {name: [row[name] for row in rows] for name in inputs}


def _check_names(given, inputs, where):
    missing, unknown = sorted(set(inputs) - set(given)), sorted(set(given) - set(inputs))
    if not missing and not unknown:
        return
    parts = (("without", missing), ("with unknown", unknown))
    said = ", ".join(f"{word} {_some(names)}" for word, names in parts if names)
    meant = [near for name in unknown for near in difflib.get_close_matches(name, missing, 1)]
    hint = f"; did you mean {meant[0]!r}?" if meant else ""
    raise ValueError(f"{where} must have the inputs {_some(list(inputs))}. Received: {said}{hint}")


def _as_columns(given, inputs):
    # How deep lists are nested tells a column from a row.
    beyond = {name: _depth(given[name]) - len(inputs[name]["shape"]) for name in inputs}
    if set(beyond.values()) == {0}:
        return {name: [given[name]] for name in inputs}
    if set(beyond.values()) == {1}:
        return {name: given[name] for name in inputs}
    kinds = {0: "one row", 1: "a column"}
    said = {name: kinds.get(more, _short(given[name])) for name, more in beyond.items()}
    raise ValueError(
        "The inputs must all be columns, a list of one value a row, or all be of one row. "
        f"Received: {said}"
    )


def _depth(value):
    depth = 0
    while isinstance(value, list):
        depth += 1
        value = value[0] if value else None
    return depth


def _array(column, own):
    fits, expected = _KINDS[_kind(own["dtype"])]
    for value in _leaves(column):
        if not fits(value):
            raise ValueError(
                f"Input '{own['name']}' must hold {expected}. Received: {_short(value)}"
            )
    array = _converted(column, own)
    wanted, shape = own["shape"], list(array.shape[1:])
    if len(shape) != len(wanted) or any(
        n not in (None, found) for n, found in zip(wanted, shape, strict=True)
    ):
        raise ValueError(
            f"Input '{own['name']}' must be of shape {wanted} a row. Received: {shape}"
        )
    return array


def _converted(column, own):
    try:
        with np.errstate(over="ignore"):
            array = np.array(column, object if own["dtype"] == "string" else own["dtype"])
    except (ValueError, OverflowError) as error:
        raise ValueError(f"Input '{own['name']}': {error}. Received: {_short(column)}") from error
    kind = array.dtype.kind
    too_large = kind == "f" and not np.isfinite(array).all()
    if too_large or (kind in "iu" and not np.array_equal(array, np.array(column))):
        raise ValueError(
            f"Input '{own['name']}' must be in the range of {own['dtype']}. "
            f"Received: {_short(column)}"
        )
    return array


def _kind(dtype):
    return next((kind for kind in _KINDS if dtype.startswith(kind)), "float")


def _is_whole(value):
    # 38.0 is as good as 38.
    return _is_number(value) and (isinstance(value, int) or value.is_integer())


def _is_number(value):
    return (
        isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _INFINITE
    )


_INFINITE = float("inf")
_KINDS = {
    "string": (lambda value: isinstance(value, str), "texts"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "int": (_is_whole, "whole numbers"),
    "uint": (_is_whole, "whole numbers"),
    "float": (_is_number, "numbers"),
}


def _leaves(value):
    if not isinstance(value, list):
        yield value
        return
    for held in value:
        yield from _leaves(held)


def _some(names):
    return f"{names[:8]} and {len(names) - 8} more" if len(names) > 8 else f"{names}"


def _short(value):
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
