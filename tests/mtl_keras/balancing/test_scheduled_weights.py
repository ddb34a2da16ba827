"""Tests of scheduled weights."""

import numpy as np
import pytest
from keras import ops

from mtl_keras.balancing import ScheduledWeights

STEPS, POINTS = [2, 4, 9], [[1.0, 0.0], [0.5, 3.0], [2.0, 1.0]]


def _run(rule, count):
    return np.stack([ops.convert_to_numpy(rule.weights([5.0, 6.0])) for _ in range(count)])


def test_linear_equals_interpolation():
    actual = _run(ScheduledWeights(STEPS, POINTS), 12)
    expected = [np.interp(np.arange(12), STEPS, column) for column in np.transpose(POINTS)]
    np.testing.assert_allclose(actual, np.transpose(expected), rtol=1e-5, atol=1e-6)


def test_constant_holds_until_the_next_step():
    actual = _run(ScheduledWeights(STEPS, POINTS, "constant"), 12)
    index = np.maximum(np.searchsorted(STEPS, np.arange(12), side="right") - 1, 0)
    np.testing.assert_allclose(actual, np.array(POINTS)[index], rtol=1e-6)


def test_one_point_is_static():
    assert (_run(ScheduledWeights([5], [[1.0, 2.0]]), 8) == [1.0, 2.0]).all()


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"steps": [3, 3], "weights": [[1.0], [1.0]]}, "steps"),
        ({"steps": []}, "steps"),
        ({"steps": [-1]}, "steps"),
        ({"steps": [0, 1], "weights": [[1.0]]}, "weights"),
        ({"steps": [0, 1]}, "weights"),
        ({"steps": [0], "weights": [[-1.0]]}, "weights"),
        ({"interpolation": "cubic"}, "interpolation"),
    ],
)
def test_refuses_other_values(arguments, name):
    with pytest.raises(ValueError, match=f"`{name}` must be .* Received: {name}="):
        ScheduledWeights(**arguments)


def test_refuses_weights_of_another_number_of_tasks():
    with pytest.raises(ValueError, match="`weights` must have one entry a task: 3"):
        ScheduledWeights(STEPS, POINTS).build(3)
