"""Checks of tensors: an error where a value is at hand, and never silence where it is not."""

from typing import Any

import keras
import numpy as np
from keras import ops


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
