"""What tells a layer which task it is doing: vectors, or integer task ids."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from mtl_keras.layers.checks import checked_ids


def context_width(context_shape: Sequence[int | None], num_tasks: int | None) -> int:
    """The width of the vectors that `context_vector` will give.

    Args:
        context_shape: (batch,) or (batch, 1) of task ids, or (batch, width) of vectors.
        num_tasks: number of tasks; needed for ids, and the width expected of vectors.

    Raises:
        ValueError: for another rank or width, and for ids of an unknown number of tasks.
    """
    shape = tuple(context_shape)
    if len(shape) not in (1, 2) or (len(shape) == 2 and shape[1] is None):
        raise ValueError(
            "`context` must be task ids of shape (batch,) or vectors of shape "
            f"(batch, width). Received: context of shape {shape}"
        )
    if _are_ids(shape, num_tasks):
        if num_tasks is None:
            raise ValueError(
                "`num_tasks` must be given for a context of task ids. "
                f"Received: context of shape {shape}, num_tasks=None"
            )
        return num_tasks
    if num_tasks is not None and shape[1] != num_tasks:
        raise ValueError(
            f"`context` must be as wide as there are tasks, {num_tasks}. "
            f"Received: context of shape {shape}"
        )
    return shape[1]


def context_vector(
    context: Any, num_tasks: int | None, dtype: str, argument: str = "context"
) -> Any:
    """The context as (batch, width): vectors as they are, ids as one-hot rows.

    An id outside the range that could not be refused (in a compiled graph) gives NaN.

    Raises:
        ValueError: for an id out of range, and for ids that are not integers.
    """
    context = ops.convert_to_tensor(context)
    if not _are_ids(context.shape, num_tasks):
        return ops.cast(context, dtype)
    kind = keras.backend.standardize_dtype(context.dtype)
    if not keras.backend.is_int_dtype(kind):
        raise ValueError(f"`{argument}` must be integers to be task ids. Received: dtype {kind}")
    ids = checked_ids(ops.reshape(context, (-1,)), num_tasks, argument)
    inside = ops.logical_and(ids >= 0, ids < num_tasks)
    one_hot = ops.one_hot(ids, num_tasks, dtype=dtype)
    return ops.where(ops.expand_dims(inside, -1), one_hot, float("nan"))


def over_positions(vectors: Any, features: Any) -> Any:
    """(batch, channels) brought to the rank of features (batch, ..., channels)."""
    for _ in range(len(features.shape) - 2):
        vectors = ops.expand_dims(vectors, 1)
    return vectors


def _are_ids(shape, num_tasks):
    return len(shape) == 1 or (shape[1] == 1 and num_tasks not in (None, 1))
