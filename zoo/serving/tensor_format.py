"""`TensorFormat`: one input or output of a signature, as JSON and as an array."""

import base64
import dataclasses
from itertools import chain
from typing import Any

import numpy as np

from zoo.serving.refusal import Refusal, shortly

_MOST_AXES = 32  # Of an input whose rank is not known; what NumPy holds in every release.
_WORDS = {
    "bool": "true or false",
    "integer": "whole numbers",
    "float": "numbers",
    "string": 'texts, or {"b64": "..."}',
}


class NotFinite(float):
    """A number that was written as NaN, Infinity or -Infinity."""


_JSON_TYPES = {
    "bool": {bool},
    "integer": {int},
    "float": {int, float, NotFinite},
    "string": {str, dict},
}


@dataclasses.dataclass(frozen=True)
class TensorFormat:
    """One input or output of a signature.

    Args:
        name: of the input or output.
        kind: "float", "integer", "bool", "string", or "" for what JSON cannot say.
        dtype: of NumPy; object for strings, which are bytes.
        shape: with None for any length; None where not even the rank is known.

    Example:

    >>> age = TensorFormat("age", "float", np.dtype("float32"), (None,))
    >>> age.array([38, 51.5])
    array([38. , 51.5], dtype=float32)
    """

    name: str
    kind: str
    dtype: np.dtype
    shape: tuple[int | None, ...] | None

    @classmethod
    def of(cls, name: str, spec: Any) -> "TensorFormat":
        """That of a `tf.TensorSpec`."""
        dtype = spec.dtype
        kinds = {
            "bool": dtype.is_bool,
            "float": dtype.is_floating,
            "integer": dtype.is_integer and not dtype.is_quantized,
            "string": dtype.name == "string",
        }
        kind = next((kind for kind, holds in kinds.items() if holds), "")
        shape = None if spec.shape.rank is None else tuple(spec.shape)
        return cls(name, kind, np.dtype(dtype.as_numpy_dtype), shape)

    @property
    def by_rows(self) -> bool:
        """Whether the first axis may have any length."""
        return bool(self.shape) and self.shape[0] is None

    def __str__(self):
        name = "string" if self.kind == "string" else self.dtype.name
        if self.shape is None:
            return f"{name} of any shape"
        sizes = ["any" if size is None else str(size) for size in self.shape]
        if self.by_rows:
            sizes[0] = "rows"
        return f"{name} of shape ({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"

    def array(self, value: Any) -> np.ndarray:
        """What JSON holds, as an array of this dtype and shape.

        Args:
            value: nested lists of equal lengths. Floats may be whole numbers; integers may not
                be floats, nor any number a bool or a text. Strings are texts, which become UTF-8,
                or `{"b64": "..."}`, bytes.

        Raises:
            Refusal: with status 400 for all else, out of range included.
        """
        if not self.kind:
            raise Refusal(400, f"Input '{self.name}' is {self}, which JSON cannot say")
        shape, leaves = self._flat(value)
        self._check_types(leaves, shape)
        filled = {"string": self._strings, "float": self._floats, "integer": self._integers}
        return filled.get(self.kind, self._bools)(leaves, shape).reshape(shape)

    def values(self, array: np.ndarray) -> Any:
        """An array, as what JSON holds: nested lists.

        NaN and infinite numbers, which JSON does not have, are None. Strings are texts; where they
        are not UTF-8, or the name ends in "_bytes", `{"b64": "..."}`.
        """
        if self.kind == "string":
            texts = [self._text(value) for value in array.ravel()]
            return _filled(texts, array.shape).tolist()
        if self.kind != "float":
            return array.tolist()
        # Of a half-precision type that is not NumPy's own, too.
        array = array if array.dtype.kind == "f" else array.astype("float32")
        finite = np.isfinite(array)
        if finite.all():
            return array.tolist()
        return np.where(finite, array.astype(object), None).tolist()

    # -- from JSON

    def _flat(self, value):
        """The shape, and what stands innermost; an axis at a time, so that depth costs no stack."""
        leaves, shape = [value], []
        for axis in range(_MOST_AXES if self.shape is None else len(self.shape)):
            types = set(map(type, leaves))
            if self.shape is None and list not in types:
                break
            if types - {list}:
                raise self._refused(value)
            lengths = set(map(len, leaves))
            size = None if self.shape is None else self.shape[axis]
            if len(lengths) > 1:
                raise self._refused(value, f", with lists of lengths {sorted(lengths)[:5]} in one")
            # Where an outer axis is empty, the inner ones are not seen.
            length = lengths.pop() if lengths else size or 0
            if size is not None and length != size:
                raise self._refused(value)
            shape.append(length)
            leaves = list(chain.from_iterable(leaves))
        return tuple(shape), leaves

    def _check_types(self, leaves, shape):
        allowed = _JSON_TYPES[self.kind]
        if set(map(type, leaves)) - allowed:
            at = next(i for i, leaf in enumerate(leaves) if type(leaf) not in allowed)
            raise self._refused_at(at, leaves, shape)

    def _strings(self, leaves, shape):
        values = []
        for i, leaf in enumerate(leaves):
            try:
                values.append(leaf.encode() if type(leaf) is str else _decoded(leaf))
            except ValueError:
                raise self._refused_at(i, leaves, shape) from None
        return _filled(values, (len(values),))

    def _floats(self, leaves, shape):
        try:
            with np.errstate(over="ignore"):
                array = np.array(leaves, "float64").astype(self.dtype)
        except OverflowError:
            at = next(i for i, leaf in enumerate(leaves) if _beyond_float(leaf))
            raise self._refused_at(at, leaves, shape) from None
        for at in np.flatnonzero(np.isinf(array)):
            # What is infinite was written so, or is out of range.
            if type(leaves[at]) is not NotFinite:
                raise self._refused_at(at, leaves, shape)
        return array

    def _integers(self, leaves, shape):
        low, high = _bounds(self.dtype)
        if leaves and (min(leaves) < low or max(leaves) > high):
            at = next(i for i, leaf in enumerate(leaves) if not low <= leaf <= high)
            raise self._refused_at(at, leaves, shape)
        return np.array(leaves, self.dtype)

    def _bools(self, leaves, shape):
        return np.array(leaves, self.dtype)

    def _refused(self, value, why=""):
        return Refusal(
            400,
            f"Input '{self.name}' must be {self}, {_WORDS[self.kind]} in nested lists. "
            f"Received: {shortly(value)}{why}",
        )

    def _refused_at(self, index, leaves, shape):
        place = "".join(f"[{i}]" for i in np.unravel_index(index, shape)) if shape else ""
        return Refusal(
            400,
            f"Input '{self.name}' must be {self}: {_WORDS[self.kind]}, in range. "
            f"Received: {shortly(leaves[index])}{f' at {place}' if place else ''}",
        )

    # -- to JSON

    def _text(self, value):
        if not self.name.endswith("_bytes"):
            try:
                return value.decode()
            except UnicodeDecodeError:
                pass
        return {"b64": base64.b64encode(value).decode()}


def _decoded(leaf):
    """The bytes of `{"b64": "..."}`."""
    if leaf.keys() != {"b64"} or type(leaf["b64"]) is not str:
        raise ValueError
    return base64.b64decode(leaf["b64"], validate=True)


def _filled(values, shape):
    """An array of objects; `np.array` would look into them."""
    array = np.empty(len(values), object)
    array[:] = values
    return array.reshape(shape)


def _beyond_float(leaf):
    try:
        float(leaf)
    except OverflowError:
        return True
    return False


def _bounds(dtype):
    bounds = np.iinfo(dtype)
    return bounds.min, bounds.max
