"""What the builders' tests state networks with: plain NumPy, and a model's weights as arrays."""

import keras
import numpy as np


def random(*shape, seed=0):
    """Standard normal float32."""
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def dense(layer, x):
    """The affine map of a layer with a kernel and a bias."""
    kernel, bias = layer.get_weights()
    return x @ kernel + bias


def arrays(outputs):
    """A dict of tensors as arrays."""
    return {task: keras.ops.convert_to_numpy(value) for task, value in outputs.items()}


def weights_of(model):
    """By path, the trainable weights as arrays."""
    return {v.path: keras.ops.convert_to_numpy(v) for v in model.trainable_variables}
