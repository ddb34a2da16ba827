"""Products G w without the K gradients, and the estimate that they feed."""

import keras
import numpy as np
import pytest

from conformance.balanced_cases import CASES, Ones, data, fresh
from mtl_keras import balancing
from mtl_keras.gradients.gramian_estimate import GramianEstimate
from mtl_keras.gradients.task_gradients import TaskGradients

eager = pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="JAX traces: there are no values to look at"
)


@eager
@pytest.mark.parametrize("case", CASES)
def test_products_are_those_of_the_rows(case):
    model = fresh(case, balancer=Ones(), run_eagerly=True)
    x, y = keras.tree.map_structure(keras.ops.convert_to_tensor, data(model))
    found = TaskGradients(model, model._balanced_step.graph, x, y, None)
    jacobian = np.concatenate([as_numpy(block) for block in found.rows()], axis=1)
    weights = np.arange(1.0, len(jacobian) + 1, dtype="float32")
    update, product = found.product(keras.ops.convert_to_tensor(weights))
    gradient = weights @ jacobian
    # float32; entries of the product are sums over all parameters.
    flat = np.concatenate([as_numpy(part).ravel() for part in update])
    np.testing.assert_allclose(flat, gradient, rtol=1e-5, atol=1e-5)
    size = np.abs(jacobian @ jacobian.T).max()
    np.testing.assert_allclose(as_numpy(product), jacobian @ gradient, atol=1e-5 * size)


def as_numpy(tensor):
    return keras.ops.convert_to_numpy(keras.ops.stop_gradient(tensor))


@pytest.mark.parametrize("rule", ["mgda", "nash_mtl", "fairgrad", "dualproj"])
def test_weights_become_those_of_the_gramian(rule):
    # Where nothing moves, the fixed point of the corrections is exact.
    rng = np.random.default_rng(0)
    jacobian = rng.normal(size=(5, 30)) + 0.3
    jacobian *= np.array([[1.0], [10.0], [0.1], [1.0], [3.0]])
    trunk = np.eye(30) + 0.1 * rng.normal(size=(30, 30))
    gramian = (jacobian @ jacobian.T).astype("float32")
    forks = jacobian @ trunk
    representation = keras.ops.convert_to_tensor((forks @ forks.T).astype("float32"))
    estimate, balancer = GramianEstimate(5, keras.layers.Layer()), balancing.get(rule)
    for _ in range(40):
        weights = balancer.weights(estimate.predict(representation))
        product = keras.ops.convert_to_tensor((gramian @ as_numpy(weights)).astype("float32"))
        estimate.correct(weights, product)
    expected = as_numpy(balancing.get(rule).weights(gramian))
    # Quasi-Newton steps in float32.
    np.testing.assert_allclose(as_numpy(weights), expected, rtol=2e-3, atol=2e-3)
