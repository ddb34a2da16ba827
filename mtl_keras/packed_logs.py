"""Logs that leave a compiled step as one tensor: on TensorFlow each tensor takes its own time."""

import functools
from collections.abc import Callable
from typing import Any

from keras import ops

# No name has one.
SEPARATOR = "\0"


def packed(step: Callable) -> Callable:
    """The step, with its scalar logs as one vector under their joined names."""

    @functools.wraps(step)
    def packing(*args):
        logs = step(*args)
        if not isinstance(logs, dict):
            return logs
        scalars = {name: value for name, value in logs.items() if _is_scalar(value)}
        if len(scalars) < 2:
            return logs
        others = {name: value for name, value in logs.items() if name not in scalars}
        return others | {SEPARATOR.join(scalars): ops.stack(list(scalars.values()))}

    return packing


def unpacked(function: Callable) -> Callable:
    """What runs a packed step, with the logs as they were. TensorFlow only."""
    import tensorflow as tf

    @functools.wraps(function)
    def unpacking(*args):
        logs = function(*args)
        if not isinstance(logs, dict):
            return logs
        for joined in [name for name in logs if SEPARATOR in name]:
            names, vector = joined.split(SEPARATOR), logs.pop(joined)
            # In place of `ops.unstack`, which takes as long as all of this saves.
            values = tf.raw_ops.Unpack(value=vector, num=len(names))
            logs |= zip(names, values, strict=True)
        return logs

    return unpacking


def _is_scalar(value: Any) -> bool:
    # One type for all, so that none is rounded.
    return ops.is_tensor(value) and value.shape == () and value.dtype == "float32"
