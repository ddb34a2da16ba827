import keras
import numpy as np
import pytest
from scipy import optimize

from conformance.compiled import direction_of
from conformance.jacobians import harmless
from mtl_keras.balancing import MoCo


def nearest(values):
    """The nearest point of the simplex."""
    threshold = optimize.brentq(
        lambda t: np.maximum(values - t, 0).sum() - 1, values.max() - 1.001, values.max()
    )
    return np.maximum(values - threshold, 0)


def statement(jacobians, beta, gamma, rho):
    """Directions of consecutive calls, as the paper states them."""
    tracked, weights = (
        np.zeros_like(jacobians[0]),
        np.full(len(jacobians[0]), 1 / len(jacobians[0])),
    )
    for jacobian in jacobians:
        tracked = tracked - beta * (tracked - jacobian)
        products = tracked @ tracked.T + rho * np.eye(len(weights))
        weights = nearest(weights - gamma * products @ weights)
        yield tracked.T @ weights


@pytest.mark.parametrize("options", [{}, {"beta": 1.0, "gamma": 0.01, "rho": 0.0}])
def test_equation(options):
    balancer, jacobians = MoCo(**options), [harmless(4, seed=seed) for seed in range(6)]
    found = [direction_of(balancer, j) for j in jacobians]
    expected = list(statement(jacobians, **balancer.get_config()))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_settles_on_the_shortest_combination():
    jacobian, balancer = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]]), MoCo(0.5, 0.02, 0.0)
    for _ in range(60):
        found = direction_of(balancer, jacobian)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), [0.0, 1.0, 1.0], atol=1e-3)


@pytest.mark.parametrize("name, value", [("beta", 0.0), ("beta", 1.1), ("gamma", 0), ("rho", -1)])
def test_bad_arguments(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be.* Received: {name}="):
        MoCo(**{name: value})
