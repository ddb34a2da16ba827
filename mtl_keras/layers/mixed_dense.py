"""A dense map whose weights each example mixes for itself."""

from typing import Any

from keras import ops

from mtl_keras.layers.context import over_positions


def mixed_dense(features: Any, kernels: Any, biases: Any, shares: Any) -> Any:
    """`features K + b` with K = sum_n shares[n] kernels[n] and b = sum_n shares[n] biases[n].

    With one-hot shares each example has the kernel of its task.

    Args:
        features: (batch, ..., in).
        kernels: (n, in, out).
        biases: (n, out), or `None` for none.
        shares: (batch, n).

    Returns:
        (batch, ..., out).
    """
    # A kernel an example pays where positions share it; a vector would read it just once.
    product = _of_vectors if len(features.shape) == 2 else _of_positions
    outputs = product(features, kernels, shares)
    if biases is None:
        return outputs
    return outputs + over_positions(ops.matmul(shares, biases), outputs)


def _of_positions(features, kernels, shares):
    count, width, units = kernels.shape
    own = ops.matmul(shares, ops.reshape(kernels, (count, width * units)))
    # Flat positions: broadcast over them, the kernels' gradient would exist once for each.
    flat = ops.reshape(features, (ops.shape(features)[0], -1, width))
    outputs = ops.matmul(flat, ops.reshape(own, (-1, width, units)))
    return ops.reshape(outputs, (*ops.shape(features)[:-1], units))


def _of_vectors(features, kernels, shares):
    count, width, units = kernels.shape
    shares = ops.expand_dims(shares, -1)
    # The shares go to the narrower side, so that what lies between stays small.
    if units < width:
        columns = ops.reshape(ops.transpose(kernels, (1, 0, 2)), (width, count * units))
        every = ops.reshape(ops.matmul(features, columns), (-1, count, units))
        return ops.sum(shares * every, axis=1)
    every = ops.reshape(shares * ops.expand_dims(features, 1), (-1, count * width))
    return ops.matmul(every, ops.reshape(kernels, (count * width, units)))
