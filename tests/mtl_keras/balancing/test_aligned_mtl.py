"""Aligned-MTL against the singular value decomposition of the Jacobian."""

import numpy as np
import pytest

from conformance.exact_programs import EXACT, ON_JAX, PAIR, spread_rows, weights_of
from mtl_keras.balancing import AlignedMTL


def exact(jacobian, scale, preference=None):
    left, values, right = np.linalg.svd(jacobian, full_matrices=False)
    kept = values > 1e-9 * values[0]
    left, values, right = left[:, kept], values[kept], right[kept]
    # Descending: the lower of two medians comes later.
    pick = {
        "min": values[-1],
        "median": values[len(values) // 2],
        "rmse": np.sqrt((values**2).mean()),
    }
    preference = np.full(len(jacobian), 1 / len(jacobian)) if preference is None else preference
    return pick[scale] * preference @ left @ right


@pytest.mark.parametrize("scale", ["min", "median", "rmse"])
@pytest.mark.parametrize("tasks", [1, 4, 5])
def test_update_is_the_mean_of_aligned_gradients(tasks, scale):
    jacobian = spread_rows(tasks, 10.0)
    found = weights_of(AlignedMTL(scale=scale), jacobian) @ jacobian
    np.testing.assert_allclose(found, exact(jacobian, scale), **EXACT)


def test_pair():
    found = weights_of(AlignedMTL(), PAIR) @ PAIR
    np.testing.assert_allclose(found, [0.2133, 0.9673, 0.9673], rtol=0, atol=1e-4)


@pytest.mark.parametrize("ratio", [1e2, 1e5])
def test_short_rows_are_aligned_too(ratio):
    if ON_JAX and ratio > 1e3:
        pytest.skip("beyond float32, as the docstring says")
    jacobian = spread_rows(5, ratio)
    found = weights_of(AlignedMTL(), jacobian) @ jacobian
    expected = exact(jacobian, "min")
    tolerance = 1e-2 if ON_JAX else 1e-5
    assert np.linalg.norm(found - expected) < tolerance * np.linalg.norm(expected)


def test_preference():
    found = weights_of(AlignedMTL(preference=[3, 1]), PAIR) @ PAIR
    np.testing.assert_allclose(found, exact(PAIR, "min", np.array([0.75, 0.25])), **EXACT)


@pytest.mark.parametrize("scale", ["min", "median", "rmse"])
def test_dependent_rows(scale):
    rows = np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 3.0, 1.0]])
    found = weights_of(AlignedMTL(scale=scale), rows) @ rows
    np.testing.assert_allclose(found, exact(rows, scale), **EXACT)


def test_opposite_rows_cancel():
    rows = PAIR[[0, 0]] * [[1.0], [-1.0]]
    np.testing.assert_allclose(weights_of(AlignedMTL(), rows) @ rows, 0.0, atol=1e-5)


def test_a_zero_row_does_not_move_the_median():
    rows = np.insert(spread_rows(4, 10.0), 2, 0.0, axis=0)
    found = weights_of(AlignedMTL(scale="median"), rows) @ rows
    np.testing.assert_allclose(found, exact(spread_rows(4, 10.0), "median"), **EXACT)


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="Received: scale='max'"):
        AlignedMTL(scale="max")
    with pytest.raises(ValueError, match="Received: preference"):
        AlignedMTL(preference=[0.0, 0.0])
    with pytest.raises(ValueError, match="one entry a task: 2"):
        weights_of(AlignedMTL(preference=[1.0]), PAIR)
