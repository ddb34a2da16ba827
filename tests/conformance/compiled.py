"""A balancer's method, compiled as a training step compiles it, with state that goes on."""

from collections.abc import Callable

import keras
import numpy as np


def compiled(method: Callable) -> Callable:
    """`method` of a BUILT balancer on NumPy arrays; compiled once a shape (not on torch)."""
    return _COMPILERS[keras.backend.backend()](method)


def _tensorflow(method):
    import tensorflow as tf

    function = tf.function(method)
    return lambda *arrays: np.asarray(function(*[tf.constant(array) for array in arrays]))


def _jax(method):
    import jax

    variables = method.__self__.state.variables

    @jax.jit
    def step(values, *arrays):
        with keras.StatelessScope(zip(variables, values, strict=True)) as scope:
            result = method(*arrays)
        return result, [scope.get_current_value(variable) for variable in variables]

    def call(*arrays):
        result, values = step([variable.value for variable in variables], *arrays)
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return np.asarray(result)

    return call


def _torch(method):
    return lambda *arrays: keras.ops.convert_to_numpy(method(*arrays))


_COMPILERS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
