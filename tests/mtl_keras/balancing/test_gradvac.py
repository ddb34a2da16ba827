import keras
import numpy as np
import pytest

from conformance.compiled import weights_of
from conformance.drawn_orders import whom_each_meets
from conformance.jacobians import harmless
from mtl_keras.balancing import GradVac, PCGrad


def weights(balancer, jacobian):
    return weights_of(balancer, jacobian @ jacobian.T)


def statement(jacobians, beta, whom):
    """Updates of consecutive calls; `whom` lists a call's orders, whom each task meets."""
    count = len(jacobians[0])
    targets = np.zeros((count, count))
    for jacobian, met in zip(jacobians, whom, strict=True):
        total = 0.0
        for i in range(count):
            gradient = jacobian[i].copy()
            for j in met[i]:
                other = jacobian[j]
                norms = np.linalg.norm(gradient), np.linalg.norm(other)
                cosine, target = gradient @ other / norms[0] / norms[1], targets[i, j]
                if cosine < target:
                    sine, aim = np.sqrt(1 - cosine**2), np.sqrt(1 - target**2)
                    factor = norms[0] * (target * sine - cosine * aim) / (norms[1] * aim)
                    gradient = gradient + factor * other
                targets[i, j] = (1 - beta) * target + beta * cosine
            total = total + gradient
        yield total


@pytest.mark.parametrize("beta", [0.01, 0.5, 1.0])
def test_equation(beta):
    balancer = GradVac(beta)
    # Agreement, then conflict: targets are above the cosine of later steps.
    shifts = [2.0, 2.0, 0.5, 0.0, -1.0, 1.0]
    jacobians = [harmless(2, size=4, seed=seed) + shift for seed, shift in enumerate(shifts)]
    jacobians[4][1] *= -3.0
    found = [weights(balancer, jacobian) @ jacobian for jacobian in jacobians]
    expected = list(statement(jacobians, beta, [[[1], [0]]] * len(jacobians)))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("count", [3, 10, 12, 23])
def test_equation_for_many_tasks_in_the_orders_that_are_drawn(count):
    balancer, twin = GradVac(0.3, seed=4), GradVac(0.3, seed=4)
    twin.build(count)
    jacobians = [harmless(count, size=2 * count, seed=seed) - 0.1 * seed for seed in range(4)]
    whom = [whom_each_meets(count, twin.draws) for _ in jacobians]
    found = [weights(balancer, jacobian) @ jacobian for jacobian in jacobians]
    expected = list(statement(jacobians, 0.3, whom))
    size = np.abs(expected).max(axis=1, keepdims=True)
    np.testing.assert_allclose(found / size, expected / size, atol=1e-4)


def test_is_pcgrad_while_targets_are_zero():
    jacobian = harmless(8, size=5)
    found, expected = (weights(rule(seed=0), jacobian) for rule in (GradVac, PCGrad))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_a_turned_gradient_has_the_target_cosine():
    balancer = GradVac(beta=1.0)
    weights(balancer, np.array([[1.0, 0.0], [0.6, 0.8]]))
    jacobian = np.array([[1.0, 0.0], [-0.6, 0.8]])
    # Both turn towards the other until their cosine with it is 0.6.
    found = weights(balancer, jacobian)
    turned = jacobian[0] + (found[1] - 1) * jacobian[1]
    assert turned @ jacobian[1] / np.linalg.norm(turned) == pytest.approx(0.6, abs=1e-4)


def test_targets_of_one_do_not_overflow():
    balancer = GradVac(beta=0.9, seed=0)
    for _ in range(8):
        weights_of(balancer, np.ones((120, 120)))
    assert np.isfinite(weights_of(balancer, np.eye(120))).all()


def test_a_task_that_waits_keeps_its_targets():
    balancer = GradVac(beta=0.5)
    weights(balancer, harmless(3))
    before = keras.ops.convert_to_numpy(balancer.targets)
    weights(balancer, harmless(3, seed=1) * [[1.0], [0.0], [1.0]])
    after = keras.ops.convert_to_numpy(balancer.targets)
    np.testing.assert_array_equal(after[1], before[1])
    np.testing.assert_array_equal(after[:, 1], before[:, 1])
    assert after[0, 2] != before[0, 2]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_zero_row_takes_no_part(place):
    jacobian = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
    found = weights(GradVac(), np.insert(jacobian, place, 0.0, axis=0))
    assert found[place] == 0.0
    np.testing.assert_allclose(np.delete(found, place), weights(GradVac(), jacobian), rtol=1e-5)


@pytest.mark.parametrize("beta", [-0.1, 1.1, "a"])
def test_bad_beta(beta):
    with pytest.raises(ValueError, match=r"`beta` must be.* Received: beta="):
        GradVac(beta)
