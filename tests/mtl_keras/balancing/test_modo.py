import numpy as np
import pytest

from conformance.compiled import weights_of
from conformance.jacobians import harmless
from mtl_keras.balancing import MoDo


def test_equation_for_two_tasks_and_two_samples():
    balancer, share = MoDo(0.05, 0.2), 0.5
    for seed in range(6):
        # Not symmetric: the product of the gradients of two batches.
        gramian = harmless(2, seed=seed) @ harmless(2, seed=seed + 50).T
        both = np.array([share, 1 - share])
        moved = both - 0.05 * (gramian + 0.2 * np.eye(2)) @ both
        # The nearest point of a segment.
        share = np.clip((moved[0] - moved[1] + 1) / 2, 0, 1)
        np.testing.assert_allclose(weights_of(balancer, gramian), [share, 1 - share], atol=1e-5)


def test_settles_on_the_shortest_combination():
    balancer, jacobian = MoDo(0.01, 0.0), np.array([[-4.0, 1.0, 1.0], [6.0, 1.0, 1.0]])
    for _ in range(60):
        found = weights_of(balancer, jacobian @ jacobian.T)
    np.testing.assert_allclose(found, [0.6, 0.4], atol=1e-3)


def test_a_task_takes_part_though_its_halves_disagree():
    # The product of two halves of a task's gradient may be negative or zero.
    found = weights_of(MoDo(), np.array([[-1.0, 0.2], [0.3, 0.0]]))
    assert (found > 0).all()


def test_a_task_without_labels_takes_no_part():
    gramian = np.array([[1.0, 0.0, 0.5], [0.0, 0.0, 0.0], [0.4, 0.0, 2.0]])
    found, expected = weights_of(MoDo(), gramian), weights_of(MoDo(), gramian[::2, ::2])
    np.testing.assert_allclose(found, [expected[0], 0.0, expected[1]], rtol=1e-5)


@pytest.mark.parametrize("name, value", [("gamma", 0), ("rho", -1)])
def test_bad_arguments(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be.* Received: {name}="):
        MoDo(**{name: value})
