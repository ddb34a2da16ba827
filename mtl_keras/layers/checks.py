"""Checks of values: an error where a value is at hand, and never silence where it is not."""

from typing import Any

import keras
import numpy as np
from keras import ops


def checked_count(value: Any, argument: str, minimum: int = 1) -> int:
    """`value` when it is a whole number of at least `minimum`.

    Raises:
        ValueError: naming `argument` otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        raise ValueError(
            f"`{argument}` must be a whole number of at least {minimum}. "
            f"Received: {argument}={value!r}"
        )
    return int(value)


def checked_rate(value: Any, argument: str) -> float:
    """`value` when it is a share that may be dropped: at least 0 and below 1.

    Raises:
        ValueError: naming `argument` otherwise.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ValueError(
            f"`{argument}` must be a number from 0 to below 1. Received: {argument}={value!r}"
        )
    return float(value)


def checked_positive(value: Any, argument: str) -> float:
    """`value` when it is a finite number above 0.

    Raises:
        ValueError: naming `argument` otherwise.
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value < float("inf"):
        raise ValueError(
            f"`{argument}` must be a finite number above 0. Received: {argument}={value!r}"
        )
    return float(value)


def concrete(tensor: Any) -> np.ndarray | None:
    """The value of a tensor, or `None` while a graph is being traced."""
    if isinstance(tensor, keras.KerasTensor):
        return None
    try:
        return np.asarray(ops.convert_to_numpy(tensor))
    except Exception:  # Every backend has an error of its own for a tensor without a value.
        return None


def checked_ids(ids: Any, count: int, argument: str) -> Any:
    """`ids` when all are from 0 to `count - 1`.

    A graph cannot raise on every backend: there TensorFlow asserts (XLA drops that), and the
    caller must turn what lies outside into NaN.

    Raises:
        ValueError: naming `argument`, when a value at hand lies outside.
    """
    message = f"`{argument}` must be ids from 0 to {count - 1}. Received: "
    values = concrete(ids)
    if values is not None:
        outside = values[(values < 0) | (values >= count)]
        if outside.size:
            raise ValueError(f"{message}{argument} with {outside.flat[0]}")
    elif keras.backend.backend() == "tensorflow" and not isinstance(ids, keras.KerasTensor):
        import tensorflow as tf

        inside = ops.logical_and(ids >= 0, ids < count)
        tf.debugging.Assert(tf.reduce_all(inside), [message, ids])
    return ids


def checked_finite(tensor: Any, argument: str) -> Any:
    """`tensor` when it is finite; in a graph NaN goes on, to be seen in the loss.

    Raises:
        ValueError: naming `argument`, when values at hand are not finite.
    """
    values = concrete(tensor)
    if values is not None and not np.isfinite(values.astype("float32")).all():
        raise ValueError(f"`{argument}` must be finite. Received: {argument} with NaN or infinity")
    return tensor
