"""ConFIG against the pseudo-inverse of the unit gradients."""

import numpy as np
import pytest

from conformance.exact_programs import EXACT, PAIR, spread_rows, weights_of
from mtl_keras.balancing import ConFIG


def exact(jacobian, preference=None):
    units = jacobian / np.linalg.norm(jacobian, axis=1, keepdims=True)
    along = np.linalg.pinv(units) @ (np.ones(len(jacobian)) if preference is None else preference)
    along /= np.linalg.norm(along)
    return (jacobian @ along).sum() * along


def test_pair():
    found = weights_of(ConFIG(), PAIR) @ PAIR
    np.testing.assert_allclose(found, [0.1588, 2.0706, 2.0706], rtol=0, atol=1e-4)


@pytest.mark.parametrize("ratio", [1.0, 1e3, 1e6])
@pytest.mark.parametrize("tasks", [1, 2, 6])
def test_update_is_that_of_the_pseudo_inverse(tasks, ratio):
    jacobian = spread_rows(tasks, ratio)
    found = weights_of(ConFIG(), jacobian) @ jacobian
    np.testing.assert_allclose(found / ratio, exact(jacobian) / ratio, rtol=0, atol=EXACT["atol"])


def test_independent_rows_do_not_conflict():
    for seed in range(10):
        jacobian = spread_rows(6, 1e3, seed)
        update = weights_of(ConFIG(), jacobian) @ jacobian
        cosines = jacobian @ update / np.linalg.norm(jacobian, axis=1) / np.linalg.norm(update)
        assert cosines.min() > -1e-3 * EXACT["atol"] ** 0.5


def test_preference_sets_the_cosines():
    update = weights_of(ConFIG(preference=[3, 1]), PAIR) @ PAIR
    np.testing.assert_allclose(update, exact(PAIR, [3, 1]), **EXACT)
    cosines = PAIR @ update / np.linalg.norm(PAIR, axis=1)
    np.testing.assert_allclose(cosines[0] / cosines[1], 3.0, rtol=1e-3)


def test_dependent_rows():
    rows = np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 3.0, 1.0]])
    np.testing.assert_allclose(weights_of(ConFIG(), rows) @ rows, exact(rows), **EXACT)


def test_opposite_rows_give_no_update():
    rows = PAIR[[0, 0]] * [[1.0], [-3.0]]
    np.testing.assert_array_equal(weights_of(ConFIG(), rows), 0.0)


def test_bad_preference_is_refused():
    with pytest.raises(ValueError, match="Received: preference"):
        ConFIG(preference=[-1.0, 2.0])
    with pytest.raises(ValueError, match="one entry a task: 2"):
        weights_of(ConFIG(preference=[1.0]), PAIR)
