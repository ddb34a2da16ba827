"""The gradients point of the layer suite."""

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


def _assert_finite(found, where):
    broken = [name for name, gradient in found.items() if not np.isfinite(gradient).all()]
    assert not broken, f"the gradient of {broken} is not finite {where}"


def _gradients(layer, inputs):
    """Gradients of a weighted sum of the outputs, in training.

    Returns:
        A dict of weight path, or "float input 0", to array. A tensor that the loss does
        not depend on has a gradient of zeros.
    """
    floats = [
        ops.convert_to_tensor(a, "float32") for a in tree.flatten(inputs) if is_float_array(a)
    ]
    compute = _GRADIENTS[keras.backend.backend()]
    found = compute(layer, floats, lambda leaves: _with_float_leaves(inputs, leaves))
    names = [relative_path(layer, weight) for weight in layer.trainable_weights]
    names += [f"float input {index}" for index in range(len(floats))]
    return dict(zip(names, found, strict=True))


def _with_float_leaves(inputs, leaves):
    leaves = iter(leaves)
    return tree.map_structure(
        lambda a: next(leaves) if is_float_array(a) else ops.convert_to_tensor(a), inputs
    )


def _weighted_sum(outputs):
    # Random coefficients: a plain sum is constant for a softmax or a normalisation.
    rng = np.random.default_rng(11)
    floats = [ops.cast(o, "float32") for o in tree.flatten(outputs) if is_float(o)]
    terms = [
        ops.sum(output * ops.convert_to_tensor(rng.standard_normal(output.shape), "float32"))
        for output in floats
    ]
    assert terms, "no output is a float, so nothing can be trained through the layer"
    return sum(terms)


def _tensorflow_gradients(layer, floats, restore):
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(floats)
        loss = _weighted_sum(layer(*restore(floats), training=True))
    sources = [weight.value for weight in layer.trainable_weights] + floats
    found = tape.gradient(loss, sources, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [tf.convert_to_tensor(gradient).numpy() for gradient in found]


def _jax_gradients(layer, floats, restore):
    import jax

    def loss(values, leaves):
        # Not stateless_call: it goes past __call__, and so past autocasting and `training`.
        mapping = zip(layer.trainable_variables, values, strict=True)
        with keras.StatelessScope(state_mapping=list(mapping)):
            return _weighted_sum(layer(*restore(leaves), training=True))

    values = [variable.value for variable in layer.trainable_variables]
    on_weights, on_inputs = jax.grad(loss, argnums=(0, 1))(values, floats)
    return [np.asarray(gradient) for gradient in on_weights + on_inputs]


def _torch_gradients(layer, floats, restore):
    import torch

    floats = [tensor.detach().requires_grad_() for tensor in floats]
    loss = _weighted_sum(layer(*restore(floats), training=True))
    sources = [weight.value for weight in layer.trainable_weights] + floats
    found = torch.autograd.grad(loss, sources, allow_unused=True, materialize_grads=True)
    return [gradient.detach().cpu().numpy() for gradient in found]


_GRADIENTS = {
    "tensorflow": _tensorflow_gradients,
    "jax": _jax_gradients,
    "torch": _torch_gradients,
}
