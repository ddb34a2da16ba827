"""Weights stored in fewer bytes than they are computed in: int8 with scales, or float16."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import keras
import numpy as np
from keras import ops

SHORTEST = 16  # In lines of fewer weights the scales outweigh what int8 saves.


class StoredWeights:
    """What stands in for weights in an exported graph; the layers compute in float32 as before.

    "int8": q = round(w / s), one scale s = max|w| / 127 a line of weights along their longest axis,
    so that the experts of a stacked kernel (in, E, out) have scales of their own; arrays of short
    lines stay as they are. "float16": the nearest half float. Vectors stay as they are.

    Args:
        variables: the variables that the graph reads.
        kind: "int8" or "float16".

    Attributes:
        kind: as given.

    Raises:
        ValueError: for a weight that is not finite, or too large for float16.
    """

    def __init__(self, variables: Iterable[keras.Variable], kind: str):
        self.kind, make = kind, KINDS[kind]
        self._small = [(v, make(v)) for v in variables if make.takes(v)]

    def scope(self) -> keras.StatelessScope:
        """Where the variables have the values that their short forms stand for."""
        return keras.StatelessScope([(variable, small()) for variable, small in self._small])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While it lasts, the variables themselves have those values: to see what that costs."""
        kept = [ops.convert_to_numpy(variable) for variable, _ in self._small]
        try:
            for variable, small in self._small:
                variable.assign(small())
            yield
        finally:
            for (variable, _), value in zip(self._small, kept, strict=True):
                variable.assign(value)


class _Int8:
    def __init__(self, variable):
        value = _finite(variable)
        axis = int(np.argmax(value.shape))
        scale = np.abs(value).max(axis=axis, keepdims=True) / 127
        # A line of zeros has none.
        scale = np.where(scale == 0, 1, scale).astype("float32")
        self._codes = _variable(np.rint(value / scale).astype("int8"), variable)
        self._scale = _variable(scale, variable, "_scale")
        self._dtype = variable.dtype

    @staticmethod
    def takes(variable):
        return _is_array(variable) and max(variable.shape) >= SHORTEST

    def __call__(self):
        return ops.cast(ops.cast(self._codes, "float32") * self._scale, self._dtype)


class _Float16:
    def __init__(self, variable):
        value = _finite(variable)
        if np.abs(value).max(initial=0) > np.finfo("float16").max:
            raise ValueError(
                "`dtype` 'float16' holds numbers up to 65504. "
                f"Received: {np.abs(value).max():.3g} in '{variable.path}'"
            )
        self._codes = _variable(value.astype("float16"), variable)
        self._dtype = variable.dtype

    @staticmethod
    def takes(variable):
        return _is_array(variable)

    def __call__(self):
        return ops.cast(self._codes, self._dtype)


KINDS = {"int8": _Int8, "float16": _Float16}


def _is_array(variable):
    wide = keras.backend.standardize_dtype(variable.dtype) in ("float32", "float64")
    return wide and len(variable.shape) > 1


def _variable(value, like, suffix=""):
    # OpenVINO tells variables apart by their names.
    name = like.path.replace("/", ".") + suffix
    return keras.Variable(value, dtype=value.dtype.name, trainable=False, name=name)


def _finite(variable):
    value = ops.convert_to_numpy(variable).astype("float32")
    if not np.isfinite(value).all():
        raise ValueError(
            f"The model must have finite weights to be stored in fewer bytes. "
            f"Received: NaN or infinity in '{variable.path}'"
        )
    return value
