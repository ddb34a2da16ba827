"""A small network written out in NumPy, with the gradient of each of its tasks."""

import keras
import numpy as np

import mtl_keras as mtl

WIDTHS = (5, 6, 4)
TASKS = ("a", "b", "c")
LEARNING_RATE = 0.1


def keras_model(balancer, **options):
    """x -> tanh -> tanh -> one linear unit a task, squared errors, SGD."""
    x = keras.Input((WIDTHS[0],))
    h = x
    for i, width in enumerate(WIDTHS[1:]):
        h = keras.layers.Dense(width, "tanh", name=f"trunk_{i}")(h)
    tasks = [mtl.RegressionTask(name) for name in TASKS]
    model = mtl.MultiTaskModel(x, {t.name: t.build_head()(h) for t in tasks}, tasks=tasks)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    model.compile(keras.optimizers.SGD(LEARNING_RATE), balancer=balancer, **options)
    return model


def data(rows=12):
    """Inputs, and labels of which some are missing."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(rows, WIDTHS[0])).astype("float32")
    y = {name: rng.normal(size=(rows, 1)).astype("float32") for name in TASKS}
    y["b"][::2] = np.nan
    return x, y


def read(model):
    """(trunk variables, head variables by task), float64."""
    layers = {layer.name: layer for layer in model.layers}

    def values(name):
        return [keras.ops.convert_to_numpy(v).astype("float64") for v in layers[name].weights]

    trunk = [value for i in range(len(WIDTHS) - 1) for value in values(f"trunk_{i}")]
    return trunk, {name: values(name) for name in TASKS}


def losses_and_gradients(trunk, heads, x, y, half=None):
    """Losses (K,), the trunk's gradients (K, P), and each head's own gradient.

    With `half` 0 or 1, what the even or the odd rows contribute to them.
    """
    (w1, b1, w2, b2) = trunk
    h1 = np.tanh(x @ w1 + b1)
    h2 = np.tanh(h1 @ w2 + b2)
    losses, rows, head_gradients = [], [], {}
    for name in TASKS:
        kernel, bias = heads[name]
        labelled = ~np.isnan(y[name])
        error = np.where(labelled, h2 @ kernel + bias - np.nan_to_num(y[name]), 0.0)
        count = labelled.sum()
        if half is not None:
            error[1 - half :: 2] = 0.0
        losses.append((error**2).sum() / count)
        d_out = 2 * error / count
        head_gradients[name] = [h2.T @ d_out, d_out.sum(0)]
        d2 = (d_out @ kernel.T) * (1 - h2**2)
        d1 = (d2 @ w2.T) * (1 - h1**2)
        parts = [x.T @ d1, d1.sum(0), h1.T @ d2, d2.sum(0)]
        rows.append(np.concatenate([part.ravel() for part in parts]))
    return np.array(losses), np.stack(rows), head_gradients
