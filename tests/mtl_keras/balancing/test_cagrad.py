"""CAGrad: the optimum of its problem, by conditions that only the optimum meets."""

import numpy as np
import pytest

from conformance.exact_programs import EXACT, PAIR, spread_rows, weights_of
from mtl_keras.balancing import CAGrad


def test_pair():
    found = weights_of(CAGrad(c=0.5), PAIR) @ PAIR
    np.testing.assert_allclose(found, [0.1835, 1.2041, 1.2041], rtol=0, atol=1e-4)


@pytest.mark.parametrize("c", [0.5, 2.0])
@pytest.mark.parametrize("tasks", [3, 8])
def test_update_is_optimal(tasks, c):
    jacobian = spread_rows(tasks, 10.0)
    weights = weights_of(CAGrad(c=c), jacobian)
    mean, update = jacobian.mean(0), weights @ jacobian
    size = np.linalg.norm(mean)
    # On the sphere around the mean, moved along a combination with weights of at least 0 ...
    np.testing.assert_allclose(np.linalg.norm(update - mean) / size, c, **EXACT)
    pulls = weights - 1 / tasks
    assert pulls.min() > -EXACT["atol"]
    # ... of tasks that are all worst off.
    gains = jacobian @ update / size
    worst_off = gains[pulls > 1e-3 * pulls.max()]
    assert np.ptp(worst_off) < 100 * EXACT["atol"]
    assert gains.min() > worst_off.min() - 100 * EXACT["atol"]


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_scale_does_not_matter(scale):
    expected = weights_of(CAGrad(), PAIR)
    np.testing.assert_allclose(weights_of(CAGrad(), scale * PAIR), expected, rtol=1e-4)


def test_rows_of_very_different_length():
    jacobian = spread_rows(3, 1e6)
    weights = weights_of(CAGrad(), jacobian)
    gains = jacobian @ (weights @ jacobian)
    mean_gains = jacobian @ jacobian.mean(0)
    assert gains.min() >= mean_gains.min() - 1e-6 * np.abs(mean_gains).max()


def test_no_radius_is_the_mean():
    np.testing.assert_allclose(weights_of(CAGrad(c=0.0), PAIR), [0.5, 0.5], **EXACT)


@pytest.mark.parametrize(("rescale", "factor"), [("linear", 1.4), ("square", 1.16)])
def test_rescaling(rescale, factor):
    plain = weights_of(CAGrad(c=0.4), PAIR)
    found = weights_of(CAGrad(c=0.4, rescale=rescale), PAIR)
    np.testing.assert_allclose(found * factor, plain, rtol=1e-5)


def test_where_the_mean_vanishes_the_update_does():
    rows = np.array([[1.0, 2.0], [-1.0, -2.0]])
    np.testing.assert_allclose(weights_of(CAGrad(), rows) @ rows, 0.0, atol=1e-3)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="Received: c=-1"):
        CAGrad(c=-1)
    with pytest.raises(ValueError, match="Received: rescale='half'"):
        CAGrad(rescale="half")
