"""The training step of a model whose balancer sees gradients, on every backend."""

import itertools
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from mtl_keras.gradients.autodiff import dense, num_replicas
from mtl_keras.gradients.balanced_step import BalancedStep


def train(model: Any, step: BalancedStep, *args: Any) -> Any:
    """What `model.train_step(*args)` returns: the logs, and on JAX the new state with them."""
    if keras.backend.backend() != "jax":
        return _train(model, step, *args)
    state, data = args
    return _in_state(model, state, lambda: _train(model, step, data))


def followed(model: Any, result: Any, action: Callable[[], None]) -> Any:
    """What `train_step` returns after `action()` on the variables that it left."""
    if keras.backend.backend() != "jax":
        action()
        return result
    logs, state = result
    return logs, _in_state(model, state, action)[1]


def _in_state(model, state, function):
    variables = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    pairs = zip(variables, state, strict=True)
    mapping = [pair for held, values in pairs for pair in zip(held, values, strict=True)]
    with keras.StatelessScope(mapping) as scope:
        result = function()
    return result, tuple([scope.get_current_value(v) for v in held] for held in variables)


def _train(model, step, data):
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    gradients, loss, y_pred = step(x, y, sample_weight)
    rows = ops.shape(keras.tree.flatten(x)[0])[0]
    gradients, loss = _with_sharing(model, gradients, loss)
    # The mean over replicas of a sum over replicas.
    model._loss_tracker.update_state(loss * num_replicas(), sample_weight=rows)
    _apply(model, gradients)
    return model.compute_metrics(x, y, y_pred, sample_weight)


def _with_sharing(model, gradients, loss):
    # Penalties are no task: nobody balances them.
    soft = model.soft_sharing
    if not soft.penalties:
        return gradients, loss
    penalty, found = soft.gradients(model.optimizer.scale_loss(1.0))
    together = [
        _sum(gradient, found.get(id(variable)))
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
    ]
    return together, loss + penalty


def _sum(first, second):
    if first is None or second is None:
        return second if first is None else first
    return dense(first) + second


def _apply(model, gradients):
    optimizer = model.optimizer
    if keras.backend.backend() != "jax":
        optimizer.apply(gradients, model.trainable_variables)
        return
    # Loss scaling on JAX knows the stateless way only.
    held = (optimizer.variables, model.trainable_variables)
    of_optimizer, trained = ([variable.value for variable in of] for of in held)
    trained, of_optimizer = optimizer.stateless_apply(of_optimizer, gradients, trained)
    for variable, value in zip(itertools.chain(*held), [*of_optimizer, *trained], strict=True):
        variable.assign(value)
