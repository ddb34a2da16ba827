"""Weights on the simplex: not negative, with sum 1, over the tasks that take part."""

from typing import Any

from keras import ops


def project(values: Any, present: Any) -> Any:
    """The point of the simplex nearest to `values`, (K,); 0 for tasks that take no part.

    w = max(values - t, 0) with the t at which they sum to 1: the largest, over k, of
    (sum of the values from v_k up, minus 1) / (their number). No sort is needed.
    """
    lowest = ops.full_like(values, -1.0)
    top = ops.max(ops.where(present, values, ops.full_like(values, float("-inf"))))
    # What lies 1 below the largest gets nothing, however far: sums stay exact.
    values = ops.where(present & (values - top > -1), values - top, lowest)
    above = ops.cast(values[None, :] >= values[:, None], values.dtype)
    thresholds = (ops.sum(above * values[None, :], axis=1) - 1) / ops.sum(above, axis=1)
    weights = ops.relu(values - ops.max(thresholds))
    return ops.where(present, weights / ops.sum(weights), ops.zeros_like(weights))


def among(weights: Any, present: Any) -> Any:
    """`weights` of the tasks that take part, made to sum to 1; equal ones where all are 0."""
    weights = ops.where(present, weights, ops.zeros_like(weights))
    weights = ops.where(ops.sum(weights) > 0, weights, ops.cast(present, weights.dtype))
    total = ops.sum(weights)
    return weights / ops.where(total > 0, total, ops.ones_like(total))


def merge(weights: Any, present: Any, kept: Any) -> Any:
    """What to keep: `weights` among those present, in the share they had; `kept` elsewhere."""
    share = ops.sum(ops.where(present, kept, ops.zeros_like(kept)))
    share = ops.where(share > 0, share, ops.ones_like(share))
    return ops.where(present, weights * share, kept)
