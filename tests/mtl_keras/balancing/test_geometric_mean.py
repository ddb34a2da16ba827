"""Tests of the geometric mean."""

import numpy as np
from keras import ops

from mtl_keras.balancing import GeometricMean


def test_equals_root_of_the_product():
    losses = np.array([0.5, 3.0, 0.0, 7.0])
    mean = np.prod([0.5, 3.0, 7.0]) ** (1 / 3)
    rule = GeometricMean()
    np.testing.assert_allclose(ops.convert_to_numpy(rule.total(losses)), mean, rtol=1e-5)
    expected = [mean / 3 / 0.5, mean / 3 / 3.0, 0.0, mean / 3 / 7.0]
    np.testing.assert_allclose(ops.convert_to_numpy(rule.weights(losses)), expected, rtol=1e-5)


def test_fifty_small_losses_do_not_underflow():
    losses = np.full(50, 1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(GeometricMean().total(losses)), 1e-6, rtol=1e-5)
    weights = ops.convert_to_numpy(GeometricMean().weights(losses))
    np.testing.assert_allclose(weights, 1 / 50, rtol=1e-5)


def test_negative_loss_takes_no_part():
    weights = ops.convert_to_numpy(GeometricMean().weights([-1.0, 2.0]))
    np.testing.assert_allclose(weights, [0.0, 1.0], rtol=1e-6)
