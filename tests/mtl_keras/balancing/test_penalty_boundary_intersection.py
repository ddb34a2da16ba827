"""Tests of penalty boundary intersection."""

import numpy as np
import pytest
from keras import ops

from mtl_keras.balancing import PenaltyBoundaryIntersection


def test_equals_equation():
    losses, bounds = np.array([0.5, 3.0, 2.0]), np.array([-1.0, 0.0, 1.0])
    p = np.array([0.5, 1.0, 2.0])
    q = p / np.linalg.norm(p)
    along = (losses - bounds) @ q
    across = np.linalg.norm(losses - bounds - along * q)
    rule = PenaltyBoundaryIntersection(p, theta=3.0, lower_bounds=bounds)
    total = ops.convert_to_numpy(rule.total(losses))
    np.testing.assert_allclose(total, along + 3.0 * across, rtol=1e-5)


def test_on_the_line_only_the_direction_is_left():
    """Rounding leaves a distance of about 1e-7, whose direction would get theta."""
    p = np.array([0.3, 1.1, 0.7])
    weights = ops.convert_to_numpy(PenaltyBoundaryIntersection(p).weights(p * 17))
    np.testing.assert_allclose(weights, p / np.linalg.norm(p), rtol=1e-5)


def test_total_falls_with_a_loss_that_passes_under_the_ideal_point():
    rule = PenaltyBoundaryIntersection(theta=0.0)
    assert float(ops.convert_to_numpy(rule.total([-2.0, -2.0]))) < 0


def test_one_task_is_its_loss():
    assert ops.convert_to_numpy(PenaltyBoundaryIntersection().weights([5.0])).tolist() == [1.0]


@pytest.mark.parametrize(
    ("argument", "value"), [("theta", -1), ("preference", [-1.0]), ("lower_bounds", "a")]
)
def test_refuses_other_values(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be .* Received: {argument}="):
        PenaltyBoundaryIntersection(**{argument: value})
