"""Singular values of stacked weights: unfoldings, subgradients of the nuclear norm, shrinking."""

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from mtl_keras.precision import wide

KINDS = ("last_axis", "tucker", "tensor_train")

# Singular values below this part of the largest are rounding errors of float32 weights.
RANK_TOLERANCE = 1e-6


def unfoldings(kind: str, shape: tuple[int, ...]) -> list[tuple[Callable, Callable]]:
    """The matrices that the stacked weights are seen as: for each, tensor to matrix and back.

    Tasks come first here, (K, ...), where the literature has them last: stacking then moves
    nothing, and the order of a matrix's columns changes no singular value.

    "last_axis": tasks against the rest. "tucker": each axis against the rest, tasks last.
    "tensor_train": the first j axes of the weights against the others and tasks, for each j.
    """
    weights, tasks = list(range(1, len(shape))), 0
    if kind == "tucker":
        rows = [[axis] for axis in [*weights, tasks]]
    elif kind == "tensor_train":
        # All of the weights' axes against tasks is tasks against all of them.
        rows = [*(weights[:j] for j in range(1, len(weights))), [tasks]]
    else:
        rows = [[tasks]]
    return [_against_the_rest(axes, shape) for axes in rows]


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


def nuclear_norm(matrix: Any) -> Any:
    """The sum of the singular values, alone."""
    rows, columns = matrix.shape
    matrix = matrix if rows <= columns else ops.transpose(matrix)
    return ops.cast(ops.sum(_left_and_values(wide(matrix))[1]), matrix.dtype)


def _with_values(matrix, multiplier):
    # U m(S) U^T M; from the short side, which costs least.
    rows, columns = matrix.shape
    if rows > columns:
        return ops.transpose(_with_values(ops.transpose(matrix), multiplier))
    widened = wide(matrix)
    left, values = _left_and_values(widened)
    # A matrix of zeros has no directions; 1 / 0 must not enter.
    safe = ops.where(values > 0, values, float(np.finfo("float32").tiny))
    scaled = left * ops.expand_dims(ops.cast(multiplier(safe), widened.dtype), 0)
    return ops.cast(scaled @ (ops.transpose(left) @ widened), matrix.dtype)


def _left_and_values(matrix):
    """U (m, m) and the singular values, descending, of (m, n) with m <= n."""
    if keras.backend.standardize_dtype(matrix.dtype) != "float64":
        left, values, _ = ops.svd(matrix, full_matrices=False)
        return left, values
    # Five times as fast as a decomposition, and in float64 as exact as float32 weights are.
    squares, left = ops.eigh(matrix @ ops.transpose(matrix))
    values = ops.sqrt(ops.where(squares > 0, squares, 0.0))
    return ops.flip(left, axis=1), ops.flip(values, axis=0)


def _against_the_rest(rows, shape):
    order = [*rows, *(axis for axis in range(len(shape)) if axis not in rows)]
    back = [order.index(axis) for axis in range(len(shape))]
    moved = [shape[axis] for axis in order]
    height = math.prod(shape[axis] for axis in rows)
    if order == back == list(range(len(shape))):
        return (
            lambda tensor: ops.reshape(tensor, (height, -1)),
            lambda matrix: ops.reshape(matrix, shape),
        )
    return (
        lambda tensor: ops.reshape(ops.transpose(tensor, order), (height, -1)),
        lambda matrix: ops.transpose(ops.reshape(matrix, moved), back),
    )
