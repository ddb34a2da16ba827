"""Vector-Jacobian products on TensorFlow: one persistent tape."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
from keras import ops


def vjp(function: Callable, variables: list, tensors: list, state: list) -> tuple:
    """Runs `function(tensors)`; see `mtl_keras.gradients.autodiff`."""
    copies = [tf.identity(tensor) for tensor in tensors]
    sources = [variable.value for variable in variables] + copies
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(sources)
        outputs, aux = function(copies)

    def pullback(cotangents: list, wanted: list[bool] | None = None) -> list:
        given = [i for i, cotangent in enumerate(cotangents) if cotangent is not None]
        asked = [i for i in range(len(sources)) if wanted is None or wanted[i]]
        found = tape.gradient(
            [outputs[i] for i in given],
            [sources[i] for i in asked],
            output_gradients=[cotangents[i] for i in given],
        )
        gradients: list[Any] = [None] * len(sources)
        for i, gradient in zip(asked, found, strict=True):
            gradients[i] = gradient
        return gradients

    return outputs, aux, pullback


def cond(predicate: Any, first: Callable, second: Callable, state: list) -> Any:
    """`first()` or `second()`; see `mtl_keras.gradients.autodiff`."""
    return ops.cond(predicate, first, second)


def dense(gradient: Any) -> Any:
    """A gradient as a tensor: that of an embedding holds the rows that were looked up."""
    return tf.convert_to_tensor(gradient)


def sum_over_replicas(tensors: list) -> list:
    """Each tensor summed over the replicas of `tf.distribute`."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1 or not tensors:
        return tensors
    return context.all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def num_replicas() -> int:
    """How many replicas compute the step together."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def row_products(first: Any, second: Any) -> Any:
    """Scalar products of rows; see `mtl_keras.gradients.autodiff`."""
    if (first.shape[0] or 0) < _MANY_ROWS:
        return tf.matmul(first, second, transpose_b=True)
    # As a batch of one: for many long rows a third of the time on a processor.
    return tf.matmul(first[None], second[None], transpose_b=True)[0]


_MANY_ROWS = 12
