"""UPGrad against projections computed one by one."""

import numpy as np
import pytest

from conformance.exact_programs import (
    EXACT,
    ON_JAX,
    PAIR,
    harmless_projection,
    spread_rows,
    weights_of,
)
from mtl_keras.balancing import UPGrad


def exact(jacobian, preference):
    return sum(
        p * harmless_projection(jacobian, g) for p, g in zip(preference, jacobian, strict=True)
    )


def test_update_is_the_mean_of_projections():
    found = weights_of(UPGrad(), PAIR) @ PAIR
    np.testing.assert_allclose(found, exact(PAIR, [0.5, 0.5]), **EXACT)
    # Published values, with a regulariser of 1e-4 that the equation lacks.
    np.testing.assert_allclose(found, [0.2929, 1.9004, 1.9004], rtol=0, atol=1e-3)


@pytest.mark.parametrize("ratio", [1.0, 1e3, 1e6])
def test_update_is_exact_for_rows_of_any_length(ratio):
    jacobian = spread_rows(8, ratio)
    expected = exact(jacobian, np.full(8, 1 / 8))
    found = weights_of(UPGrad(), jacobian) @ jacobian
    np.testing.assert_allclose(found / ratio, expected / ratio, **EXACT)


def test_update_is_exact_for_forty_tasks():
    if ON_JAX:
        pytest.skip("needs float64")
    jacobian = spread_rows(40, 10.0)
    expected = exact(jacobian, np.full(40, 1 / 40))
    found = weights_of(UPGrad(), jacobian) @ jacobian
    size = np.linalg.norm(expected)
    np.testing.assert_allclose(found / size, expected / size, **EXACT)


def test_preference_weighs_the_projections():
    preference = [0.7, 0.3]
    found = weights_of(UPGrad(preference=[7, 3]), PAIR) @ PAIR
    np.testing.assert_allclose(found, exact(PAIR, preference), **EXACT)


def test_preference_is_shared_by_the_tasks_that_are_there():
    rows = np.insert(PAIR, 1, 0.0, axis=0)
    found = weights_of(UPGrad(preference=[0.7, 5.0, 0.3]), rows)
    np.testing.assert_allclose(found, np.insert(weights_of(UPGrad([0.7, 0.3]), PAIR), 1, 0.0))


def test_without_conflict_it_is_the_mean():
    np.testing.assert_allclose(weights_of(UPGrad(), np.eye(2)), [0.5, 0.5], **EXACT)


def test_opposite_rows_cancel():
    rows = np.array([[1.0, 2.0], [-2.0, -4.0]])
    np.testing.assert_allclose(weights_of(UPGrad(), rows) @ rows, 0.0, atol=1e-5)


@pytest.mark.parametrize("preference", [[-1.0, 2.0], [0.0, 0.0], "equal", [1.0, float("nan")]])
def test_bad_preference_is_refused(preference):
    with pytest.raises(ValueError, match="Received: preference"):
        UPGrad(preference=preference)


def test_preference_of_another_length_is_refused():
    with pytest.raises(ValueError, match="one entry a task: 2"):
        weights_of(UPGrad(preference=[1.0, 1.0, 1.0]), PAIR)
