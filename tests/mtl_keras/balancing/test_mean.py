"""Tests of the mean."""

import numpy as np
from keras import ops

from mtl_keras.balancing import Mean


def test_is_the_mean_of_the_losses_that_are_there():
    losses = np.array([1.0, 0.0, 4.0, -2.0])
    np.testing.assert_allclose(ops.convert_to_numpy(Mean().total(losses)), 1.0, rtol=1e-6)
    weights = ops.convert_to_numpy(Mean().weights(losses))
    np.testing.assert_allclose(weights, [1 / 3, 0.0, 1 / 3, 1 / 3], rtol=1e-6)
