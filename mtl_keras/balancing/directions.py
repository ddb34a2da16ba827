"""Directions of vectors."""

from typing import Any

from keras import ops


def unit(vector: Any) -> tuple[Any, Any]:
    """A vector over its length, and the length; zeros for the zero vector, never NaN.

    Its square may under- or overflow: the largest entry is divided out before.
    """
    one = ops.ones_like(vector[0])
    largest = ops.stop_gradient(ops.max(ops.abs(vector)))
    largest = ops.where(largest > 0, largest, one)
    scaled = vector / largest
    square = ops.sum(scaled * scaled)
    length = ops.sqrt(ops.where(square > 0, square, one))
    return scaled / length, ops.where(square > 0, length * largest, ops.zeros_like(one))
