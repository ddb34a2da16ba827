import itertools

import numpy as np
import pytest

from conformance.compiled import weights_of
from conformance.drawn_orders import whom_each_meets
from conformance.jacobians import harmless
from mtl_keras.balancing import PCGrad


def weights(balancer, jacobian):
    return weights_of(balancer, jacobian @ jacobian.T)


def projected(jacobian, task, order):
    """g_i' of Algorithm 1, for one order."""
    gradient = jacobian[task].copy()
    for other in order:
        product = gradient @ jacobian[other]
        if other != task and product < 0:
            gradient -= product / (jacobian[other] @ jacobian[other]) * jacobian[other]
    return gradient


def test_reference():
    jacobian = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
    found = weights(PCGrad(), jacobian) @ jacobian
    np.testing.assert_allclose(found, [0.5848, 3.8012, 3.8012], atol=1e-4)


def test_equation_for_orders_that_are_drawn():
    # Conflicting enough that orders matter; each task has the choice of two.
    jacobian = harmless(3, size=4) - 0.8
    jacobian *= [[1.0], [-1.0], [3.0]]
    possible = []
    for task in range(3):
        others = [other for other in range(3) if other != task]
        possible.append([projected(jacobian, task, o) for o in itertools.permutations(others)])
    sums = np.array([sum(choice) for choice in itertools.product(*possible)])
    balancer, met = PCGrad(seed=0), set()
    for _ in range(60):
        distances = np.abs(sums - weights(balancer, jacobian) @ jacobian).max(axis=1)
        assert distances.min() < 1e-4
        met |= set(np.flatnonzero(distances < 1e-4))
    # Each task draws an order of its own: all combinations turn up.
    assert met == set(range(len(sums)))


@pytest.mark.parametrize("count", [3, 10, 12, 23])
def test_equation_for_many_tasks(count):
    jacobian = harmless(count, size=2 * count) - 0.3
    balancer, twin = PCGrad(seed=4), PCGrad(seed=4)
    twin.build(count)
    for _ in range(2):
        whom = whom_each_meets(count, twin.draws)
        expected = sum(projected(jacobian, task, whom[task]) for task in range(count))
        found = weights(balancer, jacobian) @ jacobian
        np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_harmonious_gradients_are_summed():
    jacobian = np.abs(harmless(5))
    np.testing.assert_allclose(weights(PCGrad(), jacobian), np.ones(5), rtol=1e-6)


def test_opposite_gradients_cancel():
    np.testing.assert_allclose(weights(PCGrad(), np.array([[2.0], [-3.0]])) @ [2, -3], 0, atol=1e-6)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_zero_row_takes_no_part(place):
    jacobian = np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
    found = weights(PCGrad(), np.insert(jacobian, place, 0.0, axis=0))
    assert found[place] == 0.0
    np.testing.assert_allclose(np.delete(found, place), weights(PCGrad(), jacobian), rtol=1e-5)


def test_orders_repeat_with_the_seed():
    jacobian = harmless(8, size=3)
    first, again, other = (weights(PCGrad(seed=seed), jacobian) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
