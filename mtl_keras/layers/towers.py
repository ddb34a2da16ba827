"""Towers: equal features of several tasks, side by side; what layers between them share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops


def tower_shape(shapes: Any, argument: str, count: int | None = None) -> tuple:
    """The one shape of all towers.

    Args:
        shapes: a shape a tower, as `build` gets them.
        argument: what the call argument is named.
        count: how many towers there must be; `None` for any number.

    Raises:
        ValueError: for one tensor instead of a tuple, another count, shapes that differ, or an
            unknown number of channels.
    """
    many = bool(shapes) and all(isinstance(shape, (list, tuple)) for shape in shapes)
    first = tuple(shapes[0]) if many else ()
    known = len(first) > 1 and first[-1] is not None
    if not known or not all(_agree(first, shape) for shape in shapes):
        raise ValueError(f"{_expected(argument, count)}. Received: {argument} of shape {shapes}")
    if count is not None and len(shapes) != count:
        raise ValueError(f"{_expected(argument, count)}. Received: {len(shapes)} tensors")
    return first


def checked_towers(tensors: Any, count: int, argument: str) -> tuple:
    """`tensors` as a tuple, when there are `count` of them.

    Raises:
        ValueError: naming `argument` otherwise.
    """
    if not isinstance(tensors, (list, tuple)):
        shape = tuple(tensors.shape)
        raise ValueError(
            f"{_expected(argument, count)}. Received: {argument}, one tensor of shape {shape}"
        )
    if len(tensors) != count:
        raise ValueError(f"{_expected(argument, count)}. Received: {len(tensors)} tensors")
    return tuple(tensors)


def own_and_others(count: int, own: float) -> np.ndarray:
    """(count, count): `own` on the diagonal, the rest in equal shares; rows sum to one."""
    if count == 1:
        return np.ones((1, 1))
    shares = np.full((count, count), (1 - own) / (count - 1))
    np.fill_diagonal(shares, own)
    return shares


def mixed(weights: Any, tensors: Sequence[Any]) -> tuple:
    """sum_l weights[k, l] tensors[l] for each row k of the weights.

    Written out, because memory limits it: for two and three towers on the CPU, stacking them
    first took 1.1 to 12 times as long on the three backends, and einsum up to 36 times.

    Args:
        weights: (rows, len(tensors)), or (rows, len(tensors), channels).
        tensors: of one shape (batch, ..., channels).
    """
    return tuple(
        sum(weights[row, column] * tensor for column, tensor in enumerate(tensors))
        for row in range(weights.shape[0])
    )


def joint_mask(masks: Any) -> Any:
    """Where all towers are valid: a mixture is garbage where one of its parts is.

    Args:
        masks: one mask, or a sequence with a mask or `None` for each tower.
    """
    masks = masks if isinstance(masks, (list, tuple)) else (masks,)
    # Towers on one trunk carry one mask.
    distinct = {id(mask): mask for mask in masks if mask is not None}
    joint = None
    for mask in distinct.values():
        joint = mask if joint is None else ops.logical_and(joint, mask)
    return joint


def mask_over_positions(mask: Any, features: Any) -> Any:
    """A mask brought to the rank of the positions of features (batch, ..., channels)."""
    if mask is None:
        return None
    for _ in range(len(features.shape) - 1 - len(mask.shape)):
        mask = ops.expand_dims(mask, -1)
    return mask


def _agree(first, second):
    if len(first) != len(second) or first[-1] != second[-1]:
        return False
    pairs = zip(first, second, strict=True)
    return all(a is None or b is None or a == b for a, b in pairs)


def _expected(argument, count):
    number = "" if count is None else f"{count} "
    return f"`{argument}` must be a tuple of {number}tensors of one shape (batch, ..., channels)"
