"""Tests of FAMO."""

import numpy as np
import pytest
from keras import ops

from mtl_keras.balancing import FAMO


def _statement(steps, rate, gamma, bounds):
    """Algorithm 1 with Adam on xi, delta from the next step's losses."""
    count = steps.shape[1]
    xi, first, second, seen = np.zeros(count), np.zeros(count), np.zeros(count), []
    last = steps[0] - bounds
    for t, losses in enumerate(steps):
        distance = losses - bounds
        if t:
            z = np.exp(xi - xi.max())
            z /= z.sum()
            delta = np.log(last) - np.log(distance)
            gradient = (np.diag(z) - np.outer(z, z)) @ delta + gamma * xi
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            hat = first / (1 - 0.9**t), second / (1 - 0.999**t)
            xi = xi - rate * hat[0] / (np.sqrt(hat[1]) + 1e-8)
        z = np.exp(xi - xi.max())
        z /= z.sum()
        seen.append(z / distance / np.sum(z / distance))
        last = distance
    return np.stack(seen)


def _run(rule, steps):
    return np.stack([ops.convert_to_numpy(rule.weights(losses)) for losses in steps])


@pytest.mark.parametrize(("gamma", "bounds"), [(1e-3, [0.0, 0.0, 0.0]), (0.5, [-3.0, 0.0, -1.0])])
def test_equals_algorithm(gamma, bounds):
    steps = np.random.default_rng(0).uniform(0.1, 5, (30, 3))
    rule = FAMO(learning_rate=0.1, gamma=gamma, lower_bounds=bounds)
    expected = _statement(steps, 0.1, gamma, np.array(bounds))
    # Adam divides by the root of small squares.
    np.testing.assert_allclose(_run(rule, steps), expected, rtol=2e-4)


def test_gradient_is_that_of_the_scaled_sum_of_logarithms():
    losses = np.array([0.5, 2.0])
    z = np.array([0.5, 0.5])
    c = 1 / np.sum(z / losses)
    weights = ops.convert_to_numpy(FAMO().weights(losses))
    np.testing.assert_allclose(weights, c * z / losses, rtol=1e-5)


def test_task_that_falls_slowly_gains():
    rule = FAMO()
    steps = np.stack([0.9 ** np.arange(20), np.ones(20)], axis=1)
    shares = _run(rule, steps) * steps
    shares /= shares.sum(axis=1, keepdims=True)  # z
    assert (np.diff(shares[:, 1]) > 0).all()


def test_task_that_returns_goes_on_from_its_own_state():
    rule = FAMO()
    _run(rule, np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.5]]))
    steps = ops.convert_to_numpy(rule.adam.steps)
    assert steps.tolist() == [1.0, 0.0, 1.0]
    xi = ops.convert_to_numpy(rule.logits)
    assert xi[1] == 0.0
    rule.weights([1.0, 0.5, 0.5])
    assert ops.convert_to_numpy(rule.logits)[1] != 0.0


def test_loss_under_its_bound_takes_no_part():
    weights = FAMO(lower_bounds=[-1.0, 0.0]).weights([-2.0, 3.0])
    assert ops.convert_to_numpy(weights).tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("argument", "value"), [("learning_rate", 0), ("gamma", -1), ("lower_bounds", [None])]
)
def test_refuses_other_values(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be .* Received: {argument}="):
        FAMO(**{argument: value})
