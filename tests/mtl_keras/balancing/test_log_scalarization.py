"""Tests of the sum of logarithms."""

import numpy as np
import pytest
from keras import ops

from mtl_keras.balancing import LogScalarization


def test_equals_equation():
    losses, p = np.array([-3.0, 2.0, 5.0]), np.array([0.5, 1.0, 2.0])
    bounds = np.array([-4.0, 0.0, 1.0])
    rule = LogScalarization(p, bounds)
    total, weights = rule.total(losses), rule.weights(losses)
    expected = np.sum(p * np.log(losses - bounds))
    np.testing.assert_allclose(ops.convert_to_numpy(total), expected, rtol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(weights), p / (losses - bounds), rtol=1e-5)


def test_weighted_gradients_do_not_depend_on_the_scale_of_a_loss():
    rule, losses = LogScalarization(), np.array([0.3, 20.0])
    weights = ops.convert_to_numpy(rule.weights(losses))
    scaled = ops.convert_to_numpy(rule.weights(losses * [1000.0, 1.0]))
    np.testing.assert_allclose(scaled * [1000.0, 1.0], weights, rtol=1e-5)


def test_loss_under_its_bound_takes_no_part():
    rule = LogScalarization(lower_bounds=[0.0, -1.0])
    assert ops.convert_to_numpy(rule.weights([-2.0, -0.5])).tolist() == [0.0, 2.0]
    np.testing.assert_allclose(ops.convert_to_numpy(rule.total([-2.0, -0.5])), np.log(0.5), 1e-5)


@pytest.mark.parametrize("argument", ["preference", "lower_bounds"])
def test_refuses_another_length(argument):
    rule = LogScalarization(**{argument: [1.0, 2.0]})
    with pytest.raises(ValueError, match=f"`{argument}` must have one entry a task: 3"):
        rule.weights(np.ones(3))
