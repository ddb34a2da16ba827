"""Sums and shares over the tasks that are present; `present` is (K,), bool."""

from typing import Any

from keras import ops

# Closer to its lower bound than this, a loss has no useful logarithm or inverse in float32.
NEAREST = 1e-30


def number(present: Any, dtype: Any) -> Any:
    """How many tasks are present, at least 1: to divide by."""
    total = ops.sum(ops.cast(present, dtype))
    return ops.where(total > 0, total, ops.ones_like(total))


def softmax(logits: Any, present: Any) -> Any:
    """Softmax over the present tasks, 0 for the others."""
    logits = ops.where(present, logits, -1e30)
    # Keras's own warns where there is one task.
    powers = ops.exp(logits - ops.stop_gradient(ops.max(logits)))
    return ops.where(present, powers / ops.sum(powers), ops.zeros_like(powers))


def shares(weights: Any, present: Any, dtype: Any) -> Any:
    """Weights of the present tasks, made to sum to 1; None: equal ones."""
    kept = ops.cast(present, dtype)
    if weights is not None:
        kept = kept * ops.convert_to_tensor(weights, dtype)
    total = ops.sum(kept)
    return kept / ops.where(total > 0, total, ops.ones_like(total))


def above(losses: Any, present: Any, lower_bounds: list[float] | None = None) -> tuple[Any, Any]:
    """Distances of losses from their lower bounds (None: 0), and which tasks have one.

    A loss at or under its bound has no logarithm: its task takes no part, its distance is 1.
    """
    if lower_bounds is not None:
        losses = losses - ops.convert_to_tensor(lower_bounds, losses.dtype)
    present = ops.logical_and(present, losses > NEAREST)
    return ops.where(present, losses, ops.ones_like(losses)), present
