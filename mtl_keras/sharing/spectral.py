"""Singular values of stacked weights: unfoldings, subgradients of the nuclear norm, shrinking."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

KINDS = ("last_axis", "tucker", "tensor_train")

# Singular values below this part of the largest are rounding errors of float32 weights.
RANK_TOLERANCE = 1e-6


def unfoldings(kind: str, shape: tuple[int, ...]) -> list[tuple[Callable, Callable]]:
    """The matrices that a tensor is seen as: for each, tensor to matrix and back.

    "last_axis": the last axis against the others. "tucker": each axis against the others.
    "tensor_train": the first j axes against the rest, for each j.
    """
    rank = len(shape)
    if kind == "tucker":
        return [_axis(k, shape) for k in range(rank)]
    if kind == "tensor_train":
        return [_split(j, shape) for j in range(1, rank)]
    return [_axis(rank - 1, shape)]


def polar(matrix: Any) -> Any:
    """U V^T of the singular value decomposition: a subgradient of the nuclear norm.

    The one of least norm: directions of singular value 0 are left out. Equal singular values
    are no special case, as they are for the derivative of a decomposition.
    """
    return _with_values(matrix, lambda s: ops.where(s > RANK_TOLERANCE * s[0], 1 / s, 0.0))


def shrunk(matrix: Any, amount: Any) -> Any:
    """The matrix with each singular value lower by `amount`, or zero (Cai et al. 2010)."""

    def kept(values):
        threshold = ops.cast(amount, values.dtype)
        return ops.where(values > threshold, 1 - threshold / values, 0.0)

    return _with_values(matrix, kept)


def singular_values(matrix: np.ndarray) -> np.ndarray:
    """Of an array, descending, in float64."""
    return np.linalg.svd(np.asarray(matrix, "float64"), compute_uv=False)


def _with_values(matrix, multiplier):
    # U m(S) U^T M; from the short side, which costs least.
    rows, columns = matrix.shape
    if rows > columns:
        return ops.transpose(_with_values(ops.transpose(matrix), multiplier))
    wide = ops.cast(matrix, _widest())
    if keras.backend.standardize_dtype(wide.dtype) == "float64":
        # Five times as fast as a decomposition, and in float64 as exact as float32 weights are.
        squares, left = ops.eigh(wide @ ops.transpose(wide))
        values = ops.sqrt(ops.where(squares > 0, squares, 0.0))
        values, left = ops.flip(values, axis=0), ops.flip(left, axis=1)
    else:
        left, values, _ = ops.svd(wide, full_matrices=False)
    # A matrix of zeros has no directions; 1 / 0 must not enter.
    safe = ops.where(values > 0, values, float(np.finfo("float32").tiny))
    scaled = left * ops.expand_dims(ops.cast(multiplier(safe), wide.dtype), 0)
    return ops.cast(scaled @ (ops.transpose(left) @ wide), matrix.dtype)


def _widest():
    return keras.backend.standardize_dtype(ops.convert_to_tensor(np.zeros((), "float64")).dtype)


def _axis(k, shape):
    order = [k, *(axis for axis in range(len(shape)) if axis != k)]
    back = [order.index(axis) for axis in range(len(shape))]
    moved = [shape[axis] for axis in order]
    return (
        lambda tensor: ops.reshape(ops.transpose(tensor, order), (shape[k], -1)),
        lambda matrix: ops.transpose(ops.reshape(matrix, moved), back),
    )


def _split(j, shape):
    return (
        lambda tensor: ops.reshape(tensor, (math.prod(shape[:j]), -1)),
        lambda matrix: ops.reshape(matrix, shape),
    )
