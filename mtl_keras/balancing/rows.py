"""Rows of a Jacobian: one gradient a task."""

from typing import Any

from keras import ops


def norms(jacobian: Any) -> Any:
    """Euclidean norms of the rows, (K,): squares neither overflow nor vanish."""
    largest = ops.max(ops.abs(jacobian), axis=1)
    unit = ops.where(largest > 0, largest, ops.ones_like(largest))
    return largest * ops.sqrt(ops.sum((jacobian / unit[:, None]) ** 2, axis=1))


def mix(weights: Any, jacobian: Any) -> Any:
    """The weighted sum of the rows, (P,)."""
    # Not `matmul`: it drops float64 on torch.
    return (weights[None, :] @ jacobian)[0]
