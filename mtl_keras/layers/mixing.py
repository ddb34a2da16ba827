"""Gates meet experts."""

from collections.abc import Sequence
from typing import Any

from keras import ops

from mtl_keras.layers.checks import checked_finite


def mix(gates: Sequence, experts: Any) -> tuple:
    """sum_e gates[k][..., e] experts[..., e, :], for every gate k.

    Args:
        gates: (batch, ..., E) each, or (batch, E) for all positions of a row alike.
        experts: (batch, ..., E, channels).

    Returns:
        As many tensors (batch, ..., channels).

    Raises:
        ValueError: when values at hand are not finite.
    """
    stacked = checked_finite(ops.stack(list(gates), axis=-2), "gates")
    while len(stacked.shape) < len(experts.shape):
        stacked = ops.expand_dims(stacked, 1)
    mixed = ops.matmul(stacked, experts)
    return tuple(mixed[..., index, :] for index in range(len(gates)))
