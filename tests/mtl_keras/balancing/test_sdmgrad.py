import numpy as np
import pytest
from scipy import optimize

from conformance.compiled import weights_of
from conformance.jacobians import harmless
from mtl_keras.balancing import SDMGrad


def optimum(gramian, pull):
    """(w + pull) / (1 + sum of pull) with the w of the simplex that makes it shortest."""
    found = optimize.minimize(
        lambda w: (w + pull) @ gramian @ (w + pull),
        np.full(len(pull), 1 / len(pull)),
        bounds=[(0, 1)] * len(pull),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-14, "maxiter": 1000},
    ).x
    return (found + pull) / (1 + pull.sum())


@pytest.mark.parametrize("preference", [None, [1.0, 2.0, 0.0, 1.0]])
@pytest.mark.parametrize("regularization", [0.0, 0.3, 5.0])
def test_settles_on_the_optimum(regularization, preference):
    jacobian, balancer = harmless(4), SDMGrad(regularization, preference, iterations=100)
    gramian = jacobian @ jacobian.T
    for _ in range(5):
        found = weights_of(balancer, gramian)
    shares = np.full(4, 0.25) if preference is None else np.array(preference) / 4
    np.testing.assert_allclose(found, optimum(gramian, regularization * shares), atol=1e-3)


def test_steps_for_two_tasks_and_two_samples():
    balancer, share = SDMGrad(0.5, iterations=3, step=0.7, momentum=0.4), 0.5
    for seed in range(3):
        # Two halves of one batch: nearly, but not, symmetric; the optimum is inside.
        rows = harmless(2, size=50, seed=seed)
        gramian = rows @ (rows + 0.3 * harmless(2, size=50, seed=seed + 50)).T
        products, velocity = gramian / np.abs(gramian).sum(axis=1).max(), np.zeros(2)
        for _ in range(3):
            both = np.array([share, 1 - share])
            velocity = 0.4 * velocity + products @ (both + 0.25)
            moved = both - 0.7 * velocity
            share = np.clip((moved[0] - moved[1] + 1) / 2, 0, 1)
        expected = (np.array([share, 1 - share]) + 0.25) / 1.5
        np.testing.assert_allclose(weights_of(balancer, gramian), expected, atol=1e-5)


def test_many_tasks_do_not_overshoot():
    jacobian = harmless(40, size=100)
    gramian, balancer = jacobian @ jacobian.T, SDMGrad(0.0)
    lengths = [w @ gramian @ w for w in (weights_of(balancer, gramian) for _ in range(10))]
    assert lengths[-1] <= min(lengths) * 1.001


@pytest.mark.parametrize(
    "name, value",
    [
        ("regularization", -1),
        ("preference", [-1.0, 1.0]),
        ("iterations", 0),
        ("step", 0),
        ("momentum", 1.0),
    ],
)
def test_bad_arguments(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be.* Received: {name}="):
        SDMGrad(**{name: value})


def test_preference_fits_the_tasks():
    with pytest.raises(ValueError, match="one entry a task"):
        SDMGrad(preference=[1.0, 1.0]).weights(np.eye(3))
