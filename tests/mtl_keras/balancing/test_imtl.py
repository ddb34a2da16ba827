"""IMTL: IMTL-G on losses as they are scaled."""

import keras
import numpy as np
import pytest

from conformance.exact_programs import EXACT, PAIR, weights_of
from mtl_keras.balancing import IMTL, IMTLG


def scales_of(balancer):
    return np.exp(keras.ops.convert_to_numpy(balancer.log_scales))


def test_the_first_step_is_imtl_g():
    found = weights_of(IMTL(), PAIR, np.array([1.0, 5.0]))
    np.testing.assert_allclose(found, weights_of(IMTLG(), PAIR), **EXACT)


def test_scales_descend_on_their_loss():
    balancer = IMTL(learning_rate=0.1)
    weights_of(balancer, PAIR, np.array([1.5, 100.0]))
    # exp(s) L - s has the slope L - 1 at 0, cut to 1.
    np.testing.assert_allclose(np.log(scales_of(balancer)), [-0.05, -0.1], rtol=1e-6)


def test_scales_come_to_the_inverse_of_the_losses():
    balancer = IMTL(learning_rate=0.3)
    for _ in range(60):
        found = weights_of(balancer, PAIR, np.array([0.5, 4.0]))
    np.testing.assert_allclose(scales_of(balancer), [2.0, 0.25], rtol=1e-4)
    rows = PAIR * scales_of(balancer)[:, None]
    expected = scales_of(balancer) * weights_of(IMTLG(), rows)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize("loss", [0.0, -2.0])
def test_a_loss_without_a_best_scale_keeps_its_own(loss):
    balancer = IMTL(learning_rate=0.1)
    weights_of(balancer, PAIR, np.array([loss, 2.0]))
    np.testing.assert_allclose(np.log(scales_of(balancer)), [0.0, -0.1], rtol=1e-6)


def test_an_absent_task_keeps_its_scale():
    balancer = IMTL(learning_rate=0.1)
    weights_of(balancer, PAIR * [[0.0], [1.0]], np.array([3.0, 2.0]))
    np.testing.assert_allclose(np.log(scales_of(balancer)), [0.0, -0.1], rtol=1e-6)


def test_bad_rate_is_refused():
    with pytest.raises(ValueError, match="Received: learning_rate=0"):
        IMTL(learning_rate=0)
