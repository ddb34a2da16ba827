"""How task weights change the loss on other data: against NumPy, and against real steps."""

import keras
import numpy as np
import pytest
from keras import ops

from conformance import two_layer_network as network
from conformance.balanced_cases import data, fresh, multi_task
from mtl_keras.balancing import AutoLambda
from mtl_keras.gradients.meta_gradient import MetaGradient

BACKEND = keras.backend.backend()
PRIMARY = ["a", "c"]


def gradient(model, train, validation, primary):
    tensors = keras.tree.map_structure(ops.convert_to_tensor, (train, validation))
    meta = MetaGradient(model, model.balancer.task_weights, primary)
    return ops.convert_to_numpy(meta(*tensors))


def differences(value, count, step):
    """Central differences of a function of the task weights, which are 0.1 each."""
    moves = step * np.eye(count)
    return np.array([(value(0.1 + m) - value(0.1 - m)) / (2 * step) for m in moves])


@pytest.mark.parametrize("run_eagerly", [False, True], ids=["compiled", "run_eagerly"])
def test_equals_differences_in_numpy(run_eagerly):
    model = network.keras_model(AutoLambda(), run_eagerly=run_eagerly)
    train, validation = network.data(), network.data(20)
    trunk, heads = network.read(model)

    def value(weights):
        _, jacobian, own = network.losses_and_gradients(trunk, heads, *train)
        update, moved, at = network.LEARNING_RATE * weights @ jacobian, [], 0
        for part in trunk:
            moved.append(part - update[at : at + part.size].reshape(part.shape))
            at += part.size
        steps = zip(network.LEARNING_RATE * weights, network.TASKS, strict=True)
        moved_heads = {
            name: [v - step * g for v, g in zip(heads[name], own[name], strict=True)]
            for step, name in steps
        }
        losses, *_ = network.losses_and_gradients(moved, moved_heads, *validation)
        return losses[[0, 2]].sum()

    expected = differences(value, 3, 1e-5)
    # float32 in the model.
    found = gradient(model, train, validation, PRIMARY)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def regularised():
    """Regularisers so strong that the step shows them."""
    x = keras.Input((4,))
    h = keras.layers.Dense(5, "tanh", kernel_regularizer=keras.regularizers.L2(0.5))(x)
    return multi_task(x, keras.layers.ActivityRegularization(l2=0.5)(h))


@pytest.mark.parametrize(
    "case", ["batch_normalised", "embedding", "recurrent", regularised, "partly_shared"]
)
def test_equals_differences_of_training_steps(case):
    # Eager steps compile nothing; on JAX, that takes longer.
    model = fresh(case, balancer=AutoLambda(), run_eagerly=BACKEND != "jax")
    train = data(model)
    # Other labels, none of them missing, on every other row.
    validation = keras.tree.map_structure(
        lambda values: np.roll(values, 1, axis=0)[::2], data(model, missing=False)
    )
    before = [np.array(ops.convert_to_numpy(v)) for v in model.variables]
    found = gradient(model, train, validation, ["a"])
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(variable), value)

    def value(weights):
        for variable, start in zip(model.variables, before, strict=True):
            variable.assign(start)
        model.balancer.task_weights.assign(weights)
        model.train_on_batch(*train)
        losses = model.compute_task_losses(*keras.tree.map_structure(tensor, validation))
        return float(ops.convert_to_numpy(ops.stop_gradient(losses["a"])))

    # Steps this long see through the rounding of losses; their error is of second order.
    expected = differences(value, len(model.tasks), 0.05)
    np.testing.assert_allclose(found, expected, atol=5e-3 * np.abs(expected).max())


def tensor(value):
    return ops.convert_to_tensor(value)


@pytest.mark.skipif(BACKEND == "jax", reason="half precision is slow to compile there")
def test_half_precision_keeps_small_gradients():
    # Losses so small that without loss scaling their gradients underflow.
    losses = dict.fromkeys(network.TASKS, 1e-5)
    batches, found = (network.data(), network.data(20)), {}
    for policy in ("float32", "mixed_float16"):
        keras.config.set_dtype_policy(policy)
        try:
            model = network.keras_model(AutoLambda(), loss_weights=losses)
        finally:
            keras.config.set_dtype_policy("float32")
        found[policy] = gradient(model, *batches, PRIMARY)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    largest = np.abs(found["float32"]).max()
    # Half precision has three digits.
    np.testing.assert_allclose(found["mixed_float16"], found["float32"], atol=0.02 * largest)
