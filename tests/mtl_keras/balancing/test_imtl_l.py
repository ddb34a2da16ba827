"""Tests of IMTL-L."""

import numpy as np
from keras import ops

from conformance.trained_rule import train
from mtl_keras.balancing import IMTLL


def test_equals_equation_with_given_scales():
    rule = IMTLL()
    rule.build(3)
    rule.log_scales.assign([0.5, -1.0, 2.0])
    losses = np.array([2.0, 3.0, 0.0])
    expected = np.exp(0.5) * 2.0 - 0.5 + np.exp(-1.0) * 3.0 + 1.0  # The third is absent.
    np.testing.assert_allclose(ops.convert_to_numpy(rule.total(losses)), expected, rtol=1e-6)
    weights = ops.convert_to_numpy(rule.weights(losses))
    np.testing.assert_allclose(weights, [np.exp(0.5), np.exp(-1.0), 0.0], rtol=1e-6)


def test_training_brings_scaled_losses_to_one():
    rule = train(IMTLL(), [4.0, 0.5, 0.0], rate=0.1)
    weights = ops.convert_to_numpy(rule.weights([4.0, 0.5, 1.0]))
    np.testing.assert_allclose(weights, [0.25, 2.0, 1.0], rtol=1e-4)
