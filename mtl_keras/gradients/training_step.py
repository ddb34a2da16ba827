"""The training step of a model whose balancer sees gradients, on every backend."""

import itertools
from typing import Any

import keras
from keras import ops

from mtl_keras.gradients.autodiff import num_replicas
from mtl_keras.gradients.balanced_step import BalancedStep


def train(model: Any, step: BalancedStep, *args: Any) -> Any:
    """What `model.train_step(*args)` returns: the logs, and on JAX the new state with them."""
    if keras.backend.backend() != "jax":
        return _train(model, step, *args)
    state, data = args
    variables = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    pairs = zip(variables, state, strict=True)
    mapping = [pair for held, values in pairs for pair in zip(held, values, strict=True)]
    with keras.StatelessScope(mapping) as scope:
        logs = _train(model, step, data)
    return logs, tuple([scope.get_current_value(v) for v in held] for held in variables)


def _train(model, step, data):
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    gradients, loss, y_pred = step(x, y, sample_weight)
    rows = ops.shape(keras.tree.flatten(x)[0])[0]
    # The mean over replicas of a sum over replicas.
    model._loss_tracker.update_state(loss * num_replicas(), sample_weight=rows)
    _apply(model, gradients)
    return model.compute_metrics(x, y, y_pred, sample_weight)


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
