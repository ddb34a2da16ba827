import numpy as np
import pytest

from conformance.compiled import weights_of
from conformance.jacobians import harmless
from mtl_keras.balancing import Krum


def weights(balancer, jacobian):
    return weights_of(balancer, jacobian @ jacobian.T)


@pytest.mark.parametrize("tasks, byzantine, selected", [(5, 1, 1), (8, 2, 3), (40, 10, 5)])
def test_equation(tasks, byzantine, selected):
    for seed in range(6):
        jacobian = harmless(tasks, seed=seed)
        squares = ((jacobian[:, None] - jacobian[None]) ** 2).sum(-1)
        # Each is its own nearest: not counted.
        scores = np.sort(squares, axis=1)[:, 1 : tasks - byzantine - 1].sum(axis=1)
        expected = np.zeros(tasks)
        expected[np.argsort(scores)[:selected]] = 1 / selected
        found = weights(Krum(byzantine, selected), jacobian)
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_wrong_gradients_are_not_chosen():
    jacobian = np.concatenate([1 + 0.1 * harmless(5), 1e6 * harmless(2)])
    assert weights(Krum(byzantine=2), jacobian)[5:].sum() == 0


def test_a_huge_gradient_does_not_make_the_others_equal():
    jacobian = np.concatenate([harmless(5), 1e4 * harmless(1)])
    expected = weights(Krum(byzantine=1), np.concatenate([harmless(5), 10 * harmless(1)]))
    np.testing.assert_allclose(weights(Krum(byzantine=1), jacobian), expected, rtol=1e-6)
    assert expected.max() == 1.0


def test_ties_are_shared():
    np.testing.assert_allclose(weights(Krum(), np.eye(4)), np.full(4, 0.25), rtol=1e-6)
    np.testing.assert_allclose(weights(Krum(), harmless(2)), [0.5, 0.5], rtol=1e-6)


@pytest.mark.parametrize("name, value", [("byzantine", -1), ("selected", 0), ("selected", 1.5)])
def test_bad_arguments(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be.* Received: {name}="):
        Krum(**{name: value})
