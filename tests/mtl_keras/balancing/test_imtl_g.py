"""IMTL-G: equal projections on all gradients."""

import numpy as np
import pytest

from conformance.exact_programs import EXACT, PAIR, spread_rows, weights_of
from mtl_keras.balancing import IMTLG


def test_pair():
    found = weights_of(IMTLG(), PAIR)
    np.testing.assert_allclose(found, [0.5923, 0.4077], rtol=0, atol=1e-4)
    np.testing.assert_allclose(found @ PAIR, [0.0767, 1, 1], rtol=0, atol=1e-4)


@pytest.mark.parametrize("ratio", [1.0, 1e3])
@pytest.mark.parametrize("tasks", [2, 5])
def test_projections_are_equal(tasks, ratio):
    jacobian = spread_rows(tasks, ratio)
    found = weights_of(IMTLG(), jacobian)
    np.testing.assert_allclose(found.sum(), 1.0, rtol=1e-4)
    units = jacobian / np.linalg.norm(jacobian, axis=1, keepdims=True)
    # In units of the longest term that is summed, which is what rounding is relative to.
    size = np.abs(found * np.linalg.norm(jacobian, axis=1)).max()
    assert np.ptp(units @ (found @ jacobian)) < 10 * EXACT["atol"] * size


def test_parallel_rows_share_as_the_inverse_of_their_lengths():
    rows = PAIR[[0, 0]] * [[1.0], [3.0]]
    np.testing.assert_allclose(weights_of(IMTLG(), rows), [0.75, 0.25], **EXACT)


def test_opposite_rows_give_the_mean():
    rows = PAIR[[0, 0]] * [[1.0], [-3.0]]
    np.testing.assert_allclose(weights_of(IMTLG(), rows), [0.5, 0.5], **EXACT)


def test_weights_that_sum_to_0_give_the_mean():
    # A third row between two others has a negative weight, the larger the shorter the row.
    rows = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 1.0, 0.5]])
    weights = np.linalg.solve(rows @ rows.T, np.linalg.norm(rows, axis=1))
    assert weights[2] < 0
    rows[2] *= -weights[2] / weights[:2].sum()
    np.testing.assert_allclose(weights_of(IMTLG(), rows), np.full(3, 1 / 3), **EXACT)
