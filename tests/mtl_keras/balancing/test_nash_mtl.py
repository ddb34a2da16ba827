"""Nash-MTL against its equation."""

import numpy as np
import pytest

from conformance.exact_programs import EXACT, PAIR, spread_rows, weights_of
from mtl_keras.balancing import NashMTL


def test_two_tasks_are_bisected():
    expected = (PAIR / np.linalg.norm(PAIR, axis=1, keepdims=True)).sum(0)
    found = weights_of(NashMTL(), PAIR) @ PAIR
    scale = np.sqrt(2) / np.linalg.norm(expected)
    np.testing.assert_allclose(found, expected * scale, **EXACT)
    np.testing.assert_allclose(found / np.sqrt(2), [0.0542, 0.7061, 0.7061], rtol=0, atol=1e-4)


@pytest.mark.parametrize("ratio", [1.0, 1e3, 1e6])
@pytest.mark.parametrize("tasks", [2, 8])
def test_equation(tasks, ratio):
    jacobian = spread_rows(tasks, ratio)
    found = weights_of(NashMTL(), jacobian)
    np.testing.assert_allclose(
        found * (jacobian @ (found @ jacobian)), 1.0, rtol=0, atol=100 * EXACT["atol"]
    )


def test_a_pair_that_general_solvers_miss():
    rows = np.array([[1.0, 0.0], [-1.0, 1.0]])
    np.testing.assert_allclose(weights_of(NashMTL(), rows), [1.848, 1.307], rtol=0, atol=1e-3)


def test_dependent_rows_have_a_solution():
    rows = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    found = weights_of(NashMTL(), rows)
    np.testing.assert_allclose(found * (rows @ (found @ rows)), 1.0, rtol=0, atol=1e-5)


def test_opposite_rows_give_almost_no_update():
    rows = np.array([[1.0, 2.0], [-2.0, -4.0]])
    found = weights_of(NashMTL(), rows)
    assert np.isfinite(found).all()
    assert np.linalg.norm(found @ rows) < 1e-3


@pytest.mark.parametrize(("max_norm", "expected"), [(1.0, 1.0), (5.0, np.sqrt(2))])
def test_length_is_cut(max_norm, expected):
    rows = np.insert(PAIR, 1, 0.0, axis=0)
    found = weights_of(NashMTL(max_norm=max_norm), rows) @ rows
    np.testing.assert_allclose(np.linalg.norm(found), expected, rtol=1e-5)


def test_bad_length_is_refused():
    with pytest.raises(ValueError, match="Received: max_norm=0"):
        NashMTL(max_norm=0)
