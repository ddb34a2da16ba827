"""Tests of soft optimal uncertainty weighting."""

import numpy as np
import pytest
from keras import ops

from mtl_keras.balancing import SoftOptimalUncertaintyWeighting


@pytest.mark.parametrize("temperature", [0.5, 1.0, 20.0])
def test_equals_softmax_of_inverse_losses(temperature):
    losses = np.array([0.4, 2.0, 1.0])
    shares = np.exp(1 / (temperature * losses))
    shares /= shares.sum()
    rule = SoftOptimalUncertaintyWeighting(temperature)
    np.testing.assert_allclose(ops.convert_to_numpy(rule.weights(losses)), shares, rtol=1e-5)
    total = ops.convert_to_numpy(rule.total(losses))
    np.testing.assert_allclose(total, shares @ losses, rtol=1e-5)


def test_negative_loss_takes_no_part():
    weights = SoftOptimalUncertaintyWeighting().weights([-1.0, 2.0])
    assert ops.convert_to_numpy(weights).tolist() == [0.0, 1.0]


def test_refuses_another_temperature():
    with pytest.raises(ValueError, match=r"`temperature` must be .* Received: temperature=0"):
        SoftOptimalUncertaintyWeighting(0)
