"""The gradient points of the layer suite."""

import unittest

import keras
import numpy as np
from keras import ops, tree

from conformance.layer_case import is_float, is_float_array, randomise, relative_path


def check_gradients(case):
    """Every weight and float input has a finite gradient, and near the start a non-zero one.

    A blocked input would cut off whatever stands before the layer in a model.
    """
    keras.utils.set_random_seed(1)
    layer = case.called_layer()
    _assert_finite(_gradients(layer, case.inputs), "at the initial weights")
    randomise(layer)
    found = _gradients(layer, case.inputs)
    _assert_finite(found, "near the initial weights")
    dead = [name for name, g in found.items() if not g.any() and name not in case.dead_gradients]
    assert not dead, f"the gradient of {dead} is zero"


def check_numerical_gradients(case):
    """Automatic gradients, in inference and float64, are those of central differences.

    One random direction through all weights and float inputs at once: a wrong gradient of any
    of them shows, whatever their number.
    """
    if keras.backend.backend() != "tensorflow":
        raise unittest.SkipTest("Keras computes in float64 on TensorFlow only")
    keras.utils.set_random_seed(1)
    layer = case.called_layer(dtype="float64")
    randomise(layer)
    found = list(_gradients(layer, case.inputs, dtype="float64", training=False).values())
    rng = np.random.default_rng(13)
    direction = [rng.standard_normal(gradient.shape) for gradient in found]
    slope = sum(np.sum(g * d) for g, d in zip(found, direction, strict=True))
    weights = [ops.convert_to_numpy(weight) for weight in layer.trainable_weights]
    floats = [a.astype("float64") for a in tree.flatten(case.inputs) if is_float_array(a)]

    def loss_at(step):
        moved = [v + step * d for v, d in zip(weights + floats, direction, strict=True)]
        for weight, value in zip(layer.trainable_weights, moved, strict=False):
            weight.assign(value)
        leaves = [ops.convert_to_tensor(a, "float64") for a in moved[len(weights) :]]
        return float(_weighted_sum(layer(*_with_float_leaves(case.inputs, leaves)), "float64"))

    # Rounding over the step and the third derivative times its square: both about 1e-9.
    step = 1e-5
    numerical = (loss_at(step) - loss_at(-step)) / (2 * step)
    scale = sum(np.abs(g * d).sum() for g, d in zip(found, direction, strict=True))
    assert abs(slope - numerical) <= 1e-6 * max(scale, 1e-3), (
        f"automatic slope {slope:.9g} is not the numerical {numerical:.9g}"
    )


def _assert_finite(found, where):
    broken = [name for name, gradient in found.items() if not np.isfinite(gradient).all()]
    assert not broken, f"the gradient of {broken} is not finite {where}"


def _gradients(layer, inputs, dtype="float32", training=True):
    """Gradients of a weighted sum of the outputs.

    Returns:
        A dict of weight path, or "float input 0", to array. A tensor that the loss does
        not depend on has a gradient of zeros.
    """
    floats = [ops.convert_to_tensor(a, dtype) for a in tree.flatten(inputs) if is_float_array(a)]
    compute = _GRADIENTS[keras.backend.backend()]

    def loss(leaves):
        outputs = layer(*_with_float_leaves(inputs, leaves), training=training)
        return _weighted_sum(outputs, dtype)

    found = compute(layer, floats, loss)
    names = [relative_path(layer, weight) for weight in layer.trainable_weights]
    names += [f"float input {index}" for index in range(len(floats))]
    return dict(zip(names, found, strict=True))


def _with_float_leaves(inputs, leaves):
    leaves = iter(leaves)
    return tree.map_structure(
        lambda a: next(leaves) if is_float_array(a) else ops.convert_to_tensor(a), inputs
    )


def _weighted_sum(outputs, dtype):
    # Random coefficients: a plain sum is constant for a softmax or a normalisation.
    rng = np.random.default_rng(11)
    floats = [ops.cast(o, dtype) for o in tree.flatten(outputs) if is_float(o)]
    terms = [
        ops.sum(output * ops.convert_to_tensor(rng.standard_normal(output.shape), dtype))
        for output in floats
    ]
    assert terms, "no output is a float, so nothing can be trained through the layer"
    return sum(terms)


def _tensorflow_gradients(layer, floats, loss):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(floats)
        value = loss(floats)
    sources = [weight.value for weight in layer.trainable_weights] + floats
    found = tape.gradient(value, sources, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [tf.convert_to_tensor(gradient).numpy() for gradient in found]


def _jax_gradients(layer, floats, loss):
    import jax

    def stateless_loss(values, leaves):
        # Not stateless_call: it goes past __call__, and so past autocasting and `training`.
        mapping = zip(layer.trainable_variables, values, strict=True)
        with keras.StatelessScope(state_mapping=list(mapping)):
            return loss(leaves)

    values = [variable.value for variable in layer.trainable_variables]
    on_weights, on_inputs = jax.grad(stateless_loss, argnums=(0, 1))(values, floats)
    return [np.asarray(gradient) for gradient in on_weights + on_inputs]


def _torch_gradients(layer, floats, loss):
    import torch

    floats = [tensor.detach().requires_grad_() for tensor in floats]
    sources = [weight.value for weight in layer.trainable_weights] + floats
    found = torch.autograd.grad(loss(floats), sources, allow_unused=True, materialize_grads=True)
    return [gradient.detach().cpu().numpy() for gradient in found]


_GRADIENTS = {
    "tensorflow": _tensorflow_gradients,
    "jax": _jax_gradients,
    "torch": _torch_gradients,
}
