import numpy as np
import pytest
from scipy import stats

from conformance.compiled import direction_of
from conformance.jacobians import harmless
from mtl_keras.balancing import TrimmedMean


@pytest.mark.parametrize("tasks", [1, 4, 5, 10, 100])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.29, 0.45])
def test_agrees_with_scipy(tasks, share):
    jacobian = harmless(tasks)
    found = direction_of(TrimmedMean(share), jacobian)
    # SciPy cuts floor(share K) too; 0.29 of 100 is 29, which its product misses.
    expected = stats.trim_mean(jacobian, share + 1e-9, axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_wrong_gradients_are_outvoted():
    jacobian = np.concatenate([1 + 0.1 * harmless(8), np.full((2, 7), -1e8)])
    found = direction_of(TrimmedMean(0.2), jacobian)
    assert (np.abs(found - 1) < 0.3).all()


def test_tasks_without_a_gradient_are_not_trimmed_for_others():
    jacobian = np.concatenate([harmless(4), np.zeros((6, 7))])
    found = direction_of(TrimmedMean(0.2), jacobian)
    np.testing.assert_allclose(found, jacobian[:4].mean(0), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("share", [-0.1, 0.5, 1.0, "a", None])
def test_bad_share(share):
    with pytest.raises(ValueError, match=r"`share` must be.* Received: share="):
        TrimmedMean(share)
