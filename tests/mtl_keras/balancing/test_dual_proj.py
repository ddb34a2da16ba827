"""DualProj against the projection of the mean."""

import numpy as np
import pytest

from conformance.exact_programs import EXACT, PAIR, harmless_projection, spread_rows, weights_of
from mtl_keras.balancing import DualProj


def test_update_is_the_projection_of_the_mean():
    found = weights_of(DualProj(), PAIR) @ PAIR
    np.testing.assert_allclose(found, harmless_projection(PAIR, PAIR.mean(0)), **EXACT)
    # Published values, with a regulariser of 1e-4 that the equation lacks.
    np.testing.assert_allclose(found, [0.5563, 1.1109, 1.1109], rtol=0, atol=1e-3)


@pytest.mark.parametrize("ratio", [1.0, 1e3, 1e6])
def test_update_is_exact_for_rows_of_any_length(ratio):
    jacobian = spread_rows(8, ratio)
    found = weights_of(DualProj(), jacobian) @ jacobian
    expected = harmless_projection(jacobian, jacobian.mean(0))
    np.testing.assert_allclose(found / ratio, expected / ratio, **EXACT)


def test_preference_weighs_the_mean():
    found = weights_of(DualProj(preference=[3, 1]), PAIR) @ PAIR
    expected = harmless_projection(PAIR, np.array([0.75, 0.25]) @ PAIR)
    np.testing.assert_allclose(found, expected, **EXACT)


def test_a_mean_that_harms_nobody_is_kept():
    rows = np.array([[1.0, 0.0], [1.0, 0.5]])
    np.testing.assert_allclose(weights_of(DualProj(), rows), [0.5, 0.5], **EXACT)


def test_bad_preference_is_refused():
    with pytest.raises(ValueError, match="Received: preference"):
        DualProj(preference=[-1.0, 2.0])
    with pytest.raises(ValueError, match="one entry a task: 2"):
        weights_of(DualProj(preference=[1.0]), PAIR)
