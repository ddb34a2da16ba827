"""Vector-Jacobian products on JAX, with the state of Keras variables in between."""

from collections.abc import Callable
from typing import Any

import jax
import keras


def vjp(function: Callable, variables: list, tensors: list, state: list) -> tuple:
    """Runs `function(tensors)`; see `mtl_keras.gradients.autodiff`."""
    state = list({id(variable): variable for variable in [*variables, *state]}.values())
    before = [variable.value for variable in state]
    changed = []

    def pure(values, tensors):
        mapping = [*zip(state, before, strict=True), *zip(variables, values, strict=True)]
        with keras.StatelessScope(mapping, collect_losses=True) as scope:
            start = [scope.get_current_value(variable) for variable in state]
            outputs, aux = function(list(tensors))
            after = [scope.get_current_value(variable) for variable in state]
        changed[:] = [v for v, a, b in zip(state, start, after, strict=True) if a is not b]
        updates = [b for a, b in zip(start, after, strict=True) if a is not b]
        return outputs, (aux, updates)

    values = [variable.value for variable in variables]
    outputs, pull, (aux, updates) = jax.vjp(pure, values, list(tensors), has_aux=True)
    for variable, value in zip(changed, updates, strict=True):
        variable.assign(value)

    def pullback(cotangents: list, wanted: list[bool] | None = None) -> list:
        full = [
            jax.numpy.zeros_like(output) if cotangent is None else cotangent
            for output, cotangent in zip(outputs, cotangents, strict=True)
        ]
        of_variables, of_tensors = pull(full)
        gradients = [*of_variables, *of_tensors]
        # What is not wanted is not computed: the compiler drops it.
        return [g if wanted is None or wanted[i] else None for i, g in enumerate(gradients)]

    return outputs, aux, pullback


def cond(predicate: Any, first: Callable, second: Callable, state: list) -> Any:
    """`first()` or `second()`; see `mtl_keras.gradients.autodiff`."""
    before = [variable.value for variable in state]

    def pure(function):
        def branch(values):
            with keras.StatelessScope(zip(state, values, strict=True)) as scope:
                outputs = function()
                return outputs, [scope.get_current_value(variable) for variable in state]

        return branch

    outputs, after = jax.lax.cond(predicate, pure(first), pure(second), before)
    for variable, value in zip(state, after, strict=True):
        variable.assign(value)
    return outputs


def dense(gradient: Any) -> Any:
    """The gradient."""
    return gradient


def sum_over_replicas(tensors: list) -> list:
    """The tensors: under JAX's data parallelism a step sees the whole batch."""
    return tensors


def num_replicas() -> int:
    """One."""
    return 1


def row_products(first: Any, second: Any) -> Any:
    """Scalar products of rows; see `mtl_keras.gradients.autodiff`."""
    return first @ second.T
