"""How a training step's task weights change the loss on other data (Auto-Lambda)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from mtl_keras.gradients.autodiff import dense, vjp

# Of the scale that mixed precision found for the sum of losses times task weights, about 0.1:
# losses that are not so weighted overflow at it. A power of two, which rounds nothing.
_UNWEIGHTED = 1 / 64


class MetaGradient:
    """dV(theta') / dlambda, (K,), of a compiled model; nothing of the model changes.

    theta' = theta - alpha (sum_k lambda_k grad L_k(theta) + grad R(theta)), where alpha is the
    optimizer's learning rate and R the model's own losses, such as regularisers. V is the sum of
    the primary tasks' losses on other data, and

        dV(theta') / dlambda_k = -alpha <grad V(theta'), grad L_k(theta)>.

    The pass back from losses to variables is linear in what it starts from; its transpose takes
    grad V to all K products at once. The official code finds them by finite differences.

    Args:
        model: a compiled `MultiTaskModel`.
        weights: the variable lambda, (K,).
        primary: names of the tasks in V.
    """

    def __init__(self, model: Any, weights: keras.Variable, primary: Sequence[str]):
        self._model, self._weights = model, weights
        self._trained = list(model.trainable_variables)
        self._state = list({id(v): v for v in model.variables + model.metrics_variables}.values())
        self._primary = [float(task.name in primary) for task in model.tasks]
        self._function = self._gradient if model.run_eagerly else _compiled(self._gradient)

    def __call__(self, train: tuple, validation: tuple) -> Any:
        """The gradient for two batches, both in training mode.

        Args:
            train: x, y and, if any, sample weights of the step: tensors.
            validation: those of V.
        """
        optimizer = self._model.optimizer
        rate = ops.convert_to_tensor(optimizer.learning_rate, "float32")
        # What mixed precision multiplies gradients by, so that small ones survive.
        scale = ops.convert_to_tensor(optimizer.scale_loss(1.0), "float32")
        # A function that JAX compiles must be given all that changes.
        on_jax = keras.backend.backend() == "jax"
        values = [variable.value for variable in self._state] if on_jax else None
        return self._function(values, rate, scale, train, validation)

    def _gradient(self, values, rate, scale, train, validation):
        values = values or [ops.convert_to_tensor(variable) for variable in self._state]
        of = dict(zip(map(id, self._state), values, strict=True))
        start, weights = [of[id(v)] for v in self._trained], of[id(self._weights)]

        outputs, _, pull = vjp(lambda theta: self._losses(values, theta, train), [], start, [])
        own = [ops.ones_like(loss) * ops.cast(scale, loss.dtype) for loss in outputs[1:]]
        combine = lambda given: (_filled(pull([*given, *own]), start), None)  # noqa: E731
        gradients, _, push = vjp(combine, [], [_like(weights * scale, outputs[0])], [])
        moved = [v - _like(rate / scale, v) * g for v, g in zip(start, gradients, strict=True)]

        found = self._validation_gradient(values, moved, validation, scale * _UNWEIGHTED)
        (products,) = _filled(push(found), [weights])
        return -rate / (scale * _UNWEIGHTED) * ops.cast(products, "float32")

    def _validation_gradient(self, values, theta, batch, scale):
        """grad V at theta, times `scale`."""
        outputs, _, pull = vjp(lambda theta: self._losses(values, theta, batch), [], theta, [])
        primary = _like(ops.convert_to_tensor(self._primary, "float32") * scale, outputs[0])
        return _filled(pull([primary, *(None for _ in outputs[1:])]), theta)

    def _losses(self, values, theta, batch):
        """The tasks' losses (K,), and the model's own if any, at theta."""
        model = self._model
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
        state = [*zip(self._state, values, strict=True), *zip(self._trained, theta, strict=True)]
        # Assignments, such as to running means, end with the scope.
        with keras.StatelessScope(state, collect_losses=True):
            model._clear_losses()
            losses = model.compute_task_losses(x, y, sample_weight=sample_weight)
            own = [*model.losses, *model.soft_sharing.values()]
            model._clear_losses()
        return [ops.stack(list(losses.values())), *([sum(own)] if own else [])], None


def _filled(gradients, variables):
    return [
        ops.zeros_like(variable) if gradient is None else dense(gradient)
        for gradient, variable in zip(gradients, variables, strict=True)
    ]


def _like(tensor, other):
    return ops.cast(tensor, other.dtype)


def _compiled(function):
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        # As Keras compiles a training step: Python is not rewritten.
        return tf.function(function, autograph=False, reduce_retracing=True)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function
