"""FairGrad against its equation."""

import numpy as np
import pytest

from conformance.exact_programs import EXACT, PAIR, spread_rows, weights_of
from mtl_keras.balancing import FairGrad, NashMTL


@pytest.mark.parametrize(
    ("alpha", "weights"), [(1.0, (0.59146, 0.40707)), (2.0, (0.47136, 0.31945))]
)
def test_pair(alpha, weights):
    np.testing.assert_allclose(weights_of(FairGrad(alpha), PAIR), weights, rtol=0, atol=2e-5)


@pytest.mark.parametrize("alpha", [0.5, 2.0, 5.0])
@pytest.mark.parametrize("ratio", [1.0, 1e3])
def test_equation(alpha, ratio):
    jacobian = spread_rows(5, ratio)
    found = weights_of(FairGrad(alpha), jacobian)
    gains = jacobian @ (found @ jacobian)
    error = gains - found ** (-1 / alpha)
    summed = np.abs(jacobian @ jacobian.T) @ found
    assert np.abs(error / summed).max() < 10 * EXACT["atol"]


def test_alpha_of_1_is_nash_mtl():
    jacobian = spread_rows(2, 10.0)
    found, expected = (weights_of(rule, jacobian) for rule in (FairGrad(1.0), NashMTL()))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_small_alpha_is_near_the_sum():
    found = weights_of(FairGrad(0.02), np.array([[1.0, 0.5], [0.0, 3.0]]))
    np.testing.assert_allclose(found, 1.0, rtol=0, atol=0.05)


@pytest.mark.parametrize("alpha", [0.1, 10.0])
def test_length_follows_the_power_of_the_scale(alpha):
    rows = np.array([[3.0, 4.0], [0.0, 0.0]])
    expected = [5.0 ** (-2 * alpha / (alpha + 1)), 0.0]
    np.testing.assert_allclose(weights_of(FairGrad(alpha), rows), expected, rtol=1e-5)


@pytest.mark.parametrize("alpha", [0.1, 10.0])
def test_extremes_are_finite(alpha):
    for jacobian in (spread_rows(2, 1e6), PAIR[[0, 0]] * [[1.0], [-2.0]]):
        assert np.isfinite(weights_of(FairGrad(alpha), jacobian)).all()


def test_bad_alpha_is_refused():
    with pytest.raises(ValueError, match="Received: alpha=0"):
        FairGrad(alpha=0)
