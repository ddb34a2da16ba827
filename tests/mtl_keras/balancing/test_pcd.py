import numpy as np
import pytest
from scipy import optimize

from conformance.compiled import weights_of
from conformance.jacobians import harmless
from mtl_keras.balancing import PCD


def update(balancer, jacobian):
    return weights_of(balancer, jacobian @ jacobian.T) @ jacobian


def statement(jacobian, usual, taus):
    """The paper's program for d', by an independent solver; rescaled."""
    unit = jacobian / usual[:, None]
    asked = taus * (unit[1:] ** 2).sum(axis=1)
    found = optimize.minimize(
        lambda d: ((d - unit[0]) ** 2).sum() / 2,
        unit[0],
        jac=lambda d: d - unit[0],
        constraints={
            "type": "ineq",
            "fun": lambda d: unit[1:] @ d - asked,
            "jac": lambda d: unit[1:],
        },
        options={"ftol": 1e-15, "maxiter": 500},
    )
    assert found.success
    return np.linalg.norm(jacobian[0]) * found.x / np.linalg.norm(found.x)


@pytest.mark.parametrize("tasks, tau", [(2, 0.0), (3, 0.02), (6, 0.5)])
def test_equation(tasks, tau):
    balancer, average, beta = PCD(tau, beta=0.9), 0.0, 0.9
    for step in range(4):
        jacobian = harmless(tasks, size=8, seed=step) * 10.0 ** np.arange(-1, tasks - 1)[:, None]
        average = beta * average + (1 - beta) * (jacobian**2).sum(axis=1)
        usual = np.sqrt(average / (1 - beta ** (step + 1)))
        expected = statement(jacobian, usual, tau)
        np.testing.assert_allclose(update(balancer, jacobian), expected, rtol=2e-3, atol=2e-4)


def test_another_task_may_lead():
    jacobian = harmless(3, size=8)
    expected = update(PCD([0.3, 0.1, 0.2]), jacobian)
    found = update(PCD([0.1, 0.2, 0.3], primary=2), jacobian[[1, 2, 0]])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_harmonious_secondary_tasks_change_nothing():
    jacobian = np.array([[3.0, 0.0], [1.0, 1.0], [5.0, -1.0]])
    np.testing.assert_allclose(update(PCD(), jacobian), [3.0, 0.0], atol=1e-5)


def test_constraints_that_exclude_each_other_are_dropped():
    jacobian = np.array([[1.0, 2.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, -5.0]])
    np.testing.assert_allclose(update(PCD(), jacobian), jacobian[0], atol=1e-5)


def test_a_primary_task_without_a_gradient_halts():
    assert not update(PCD(), np.array([[0.0, 0.0], [1.0, 2.0]])).any()


def test_a_direction_of_zero_gives_no_update():
    np.testing.assert_allclose(update(PCD(tau=0.0), np.array([[1.0], [-2.0]])), [0.0], atol=1e-6)


@pytest.mark.parametrize("place", [1, 3])
def test_a_secondary_zero_row_takes_no_part(place):
    jacobian, balancer, padded = harmless(3), PCD(), PCD()
    for seed in range(3):
        jacobian = harmless(3, seed=seed)
        expected = update(balancer, jacobian)
        found = update(padded, np.insert(jacobian, place, 0.0, axis=0))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name, value", [("tau", -0.1), ("tau", [0.5, 1.5]), ("primary", -1), ("beta", 1.0)]
)
def test_bad_arguments(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be.* Received: {name}="):
        PCD(**{name: value})


def test_arguments_fit_the_tasks():
    with pytest.raises(ValueError, match="one entry a task"):
        PCD(tau=[0.1, 0.2]).weights(np.eye(3))
    with pytest.raises(ValueError, match="Received: primary=3"):
        PCD(primary=3).weights(np.eye(3))
