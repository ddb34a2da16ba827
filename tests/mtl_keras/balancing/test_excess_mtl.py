import numpy as np
import pytest

from conformance.compiled import direction_of
from conformance.jacobians import harmless
from mtl_keras.balancing import ExcessMTL


def statement(jacobians, step):
    """Directions of consecutive calls, as the paper states them."""
    squares, weights, first = 0.0, np.full(len(jacobians[0]), 1 / len(jacobians[0])), None
    for jacobian in jacobians:
        squares = squares + jacobian**2
        risks = (jacobian**2 / np.sqrt(squares)).sum(axis=1)
        first = risks if first is None else first
        weights = weights * np.exp(step * risks / first)
        weights = weights / weights.sum()
        yield weights @ jacobian


@pytest.mark.parametrize("step", [0.01, 1.0])
def test_equation(step):
    balancer, jacobians = ExcessMTL(step), [harmless(4, seed=seed) for seed in range(6)]
    found = [direction_of(balancer, j) for j in jacobians]
    np.testing.assert_allclose(found, list(statement(jacobians, step)), rtol=1e-4, atol=1e-6)


def test_first_weights_are_equal_however_unequal_the_gradients():
    jacobian = harmless(3) * [[1e4], [1.0], [1e-4]]
    found = direction_of(ExcessMTL(1.0), jacobian)
    np.testing.assert_allclose(found, jacobian.mean(0), rtol=1e-5)


def test_weight_leaves_tasks_whose_gradient_has_gone():
    balancer, jacobian = ExcessMTL(0.5), np.eye(2)
    for _ in range(10):
        jacobian = jacobian * [[1.0], [0.3]]
        found = direction_of(balancer, jacobian)
    weights = found / np.diag(jacobian)
    assert weights[0] > 0.7 and weights.sum() == pytest.approx(1.0, rel=1e-4)


def test_a_task_that_waits_keeps_its_place():
    balancer, jacobian = ExcessMTL(0.5), harmless(3)
    for _ in range(5):
        direction_of(balancer, jacobian * [[1.0], [1.0], [0.0]])
    found = direction_of(balancer, jacobian)
    weights = np.linalg.lstsq(jacobian.T, found, rcond=None)[0]
    # Its first risk is 1 in its own units; those of the others have fallen, which is all.
    assert weights[2] == weights.max() and weights.min() > 0.2


@pytest.mark.parametrize("step", [0.0, -1, "a", float("inf")])
def test_bad_step(step):
    with pytest.raises(ValueError, match=r"`step` must be.* Received: step="):
        ExcessMTL(step)
