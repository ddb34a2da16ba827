"""A balancer's method, compiled as a training step compiles it, with state that goes on."""

import functools
import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np


def compiled(method: Callable) -> Callable:
    """`method` of a BUILT balancer on NumPy arrays; compiled once a shape (not on torch)."""
    return _COMPILERS[keras.backend.backend()](method)


def weights_of(balancer: Any, gramian: Any, losses: Any = None) -> np.ndarray:
    """The weights of the balancer's next call, compiled."""
    return _next(balancer, "weights", np.asarray(gramian), losses)


def direction_of(balancer: Any, jacobian: Any, losses: Any = None) -> np.ndarray:
    """The direction of the balancer's next call, compiled."""
    return _next(balancer, "direction", np.asarray(jacobian), losses)


def _next(balancer, name, gradients, losses):
    # Compiled once for all balancers of one configuration: a twin takes the step, with the
    # balancer's state, of which all is in variables.
    sizes = (len(gradients),) if name == "weights" else (len(gradients), gradients.shape[1])
    _build(balancer, sizes)
    config = {key: value for key, value in balancer.get_config().items() if key != "seed"}
    twin, method = _twin(type(balancer), name, json.dumps(config), sizes)
    _copy_state(balancer, twin)
    arrays = [gradients] if losses is None else [gradients, np.asarray(losses)]
    result = method(*arrays)
    _copy_state(twin, balancer)
    return result


@functools.cache
def _twin(kind, name, config, sizes):
    twin = kind.from_config(json.loads(config))
    _build(twin, sizes)
    return twin, compiled(getattr(twin, name))


def _build(balancer, sizes):
    balancer.build(sizes[0], **({"size": sizes[1]} if sizes[1:] else {}))


def _copy_state(source, target):
    for old, new in zip(target.state.variables, source.state.variables, strict=True):
        old.assign(new.value)


def _tensorflow(method):
    import tensorflow as tf

    # As Keras compiles a training step: Python is not rewritten.
    function = tf.function(method, autograph=False)
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
