"""Random orders in which tasks meet each other."""

from typing import Any

import keras
from keras import ops


def drawn(count: int, seeds: Any) -> Any:
    """For each of `count` tasks (columns) a random order of all, itself among them; int32.

    Row s holds whom each task meets in step s. Itself is given as `count`, which is nobody.
    """
    orders = ops.argsort(keras.random.uniform((count, count), seed=seeds), axis=0)
    orders = ops.cast(orders, "int32")
    return ops.where(orders == ops.arange(count, dtype="int32")[None, :], count, orders)


def marked(others: Any, met: Any) -> Any:
    """1 where each task (rows) has whom it meets; `met` has a row for each of them.

    A product with it is quicker than a choice by comparison.
    """
    return ops.one_hot(others, met.shape[0], dtype=keras.backend.standardize_dtype(met.dtype))
