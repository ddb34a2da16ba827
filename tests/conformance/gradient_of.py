"""The gradient of a scalar function of one array, on whatever backend runs."""

import keras
import numpy as np


def gradient_of(function, array):
    """d function / d array, a NumPy array."""
    return _GRADIENTS[keras.backend.backend()](function, np.asarray(array, "float32"))


def _tensorflow(function, array):
    import tensorflow as tf

    x = tf.constant(array)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return tape.gradient(value, x).numpy()


def _jax(function, array):
    import jax

    return np.asarray(jax.grad(function)(array))


def _torch(function, array):
    import torch

    x = torch.tensor(array, requires_grad=True)
    function(x).backward()
    return x.grad.numpy()


_GRADIENTS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
