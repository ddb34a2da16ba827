"""Tests of AutoLambda as a rule; `test_callbacks.py` has where its gradient comes from."""

import numpy as np
import pytest
from keras import ops

from mtl_keras.balancing import AutoLambda


def _adam(gradients, rate, initial, minimum):
    """lambda after each step of Adam; a gradient of 0 or NaN is no step for its task."""
    weights = np.full(gradients.shape[1], initial)
    first, second, count = (np.zeros(gradients.shape[1]) for _ in range(3))
    seen = []
    for gradient in gradients:
        if np.isfinite(gradient).all():
            moving = gradient != 0
            count[moving] += 1
            first[moving] = (0.9 * first + 0.1 * gradient)[moving]
            second[moving] = (0.999 * second + 0.001 * gradient**2)[moving]
            n = np.maximum(count, 1)
            step = first / (1 - 0.9**n) / (np.sqrt(second / (1 - 0.999**n)) + 1e-8)
            weights = np.where(moving, weights - rate * step, weights)
            weights = weights if minimum is None else np.maximum(weights, minimum)
        seen.append(weights)
    return np.stack(seen)


def _learned(rule, gradients):
    seen = []
    for gradient in gradients:
        rule.learn(gradient)
        seen.append(ops.convert_to_numpy(rule.weights(np.ones(len(gradient), "float32"))))
    return np.stack(seen)


@pytest.mark.parametrize("minimum", [0.0, 0.05, None])
def test_equals_adam(minimum):
    gradients = np.random.default_rng(0).normal([-1.0, 0.2, 3.0], size=(25, 3)).astype("float32")
    gradients[4, 1] = gradients[0, 2] = 0.0
    gradients[7, 0] = np.nan
    rule = AutoLambda(learning_rate=0.01, minimum=minimum)
    expected = _adam(gradients.astype("float64"), 0.01, 0.1, minimum)
    np.testing.assert_allclose(_learned(rule, gradients), expected, rtol=2e-4, atol=1e-6)
    assert (expected.min() < 0) == (minimum is None)


def test_weights_are_constants_of_the_losses():
    rule = AutoLambda(initial=0.5)
    assert float(rule.total([2.0, 4.0])) == 3.0
    assert ops.convert_to_numpy(rule.weights([2.0, 0.0])).tolist() == [0.5, 0.0]


def test_absent_task_leaves_its_weight():
    rule = AutoLambda(learning_rate=0.01)
    rule.learn([0.0, 1.0])
    np.testing.assert_allclose(ops.convert_to_numpy(rule.task_weights), [0.1, 0.09], rtol=1e-5)


@pytest.mark.parametrize(
    ("argument", "value"),
    [("learning_rate", 0), ("initial", 0.0), ("initial", "x"), ("minimum", -1), ("minimum", 0.2)],
)
def test_refuses_other_values(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be .* Received: {argument}="):
        AutoLambda(**{argument: value})


def test_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"`gradient` must be \(K,\)"):
        AutoLambda().learn([[1.0]])
    rule = AutoLambda()
    rule.build(3)
    with pytest.raises(ValueError, match="built for 3 tasks"):
        rule.learn([1.0, 2.0])
