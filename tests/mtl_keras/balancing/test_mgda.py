"""MGDA against the shortest convex combination."""

import numpy as np
import pytest

from conformance.exact_programs import (
    EXACT,
    ON_JAX,
    PAIR,
    shortest_in_hull,
    spread_rows,
    weights_of,
)
from mtl_keras.balancing import MGDA


def test_pair():
    np.testing.assert_allclose(weights_of(MGDA(), PAIR), [0.6, 0.4], **EXACT)
    np.testing.assert_allclose(weights_of(MGDA(), PAIR) @ PAIR, [0, 1, 1], atol=1e-5)


@pytest.mark.parametrize("ratio", [1.0, 10.0, 1e3, 1e6])
@pytest.mark.parametrize("tasks", [2, 8])
def test_update_is_the_shortest(tasks, ratio):
    jacobian = spread_rows(tasks, ratio)
    found, expected = weights_of(MGDA(), jacobian), shortest_in_hull(jacobian)
    np.testing.assert_allclose(found.sum(), 1.0, rtol=1e-6)
    assert found.min() >= 0
    np.testing.assert_allclose(found @ jacobian, expected @ jacobian, **EXACT)


def test_forty_tasks():
    if ON_JAX:
        pytest.skip("needs float64")
    jacobian = spread_rows(40, 10.0, seed=1)
    found, expected = weights_of(MGDA(), jacobian), shortest_in_hull(jacobian)
    np.testing.assert_allclose(found @ jacobian, expected @ jacobian, **EXACT)


def test_equal_rows_share():
    np.testing.assert_allclose(weights_of(MGDA(), PAIR[[0, 0]]), [0.5, 0.5], **EXACT)


def test_of_parallel_rows_the_shortest_has_all():
    rows = PAIR[[0, 0, 0]] * np.array([[3.0], [1.0], [2.0]])
    np.testing.assert_allclose(weights_of(MGDA(), rows), [0, 1, 0], **EXACT)


def test_opposite_rows_cancel():
    rows = np.array([[1.0, 2.0], [-2.0, -4.0]])
    np.testing.assert_allclose(weights_of(MGDA(), rows), [2 / 3, 1 / 3], **EXACT)
