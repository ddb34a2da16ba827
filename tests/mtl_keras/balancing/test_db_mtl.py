import numpy as np
import pytest

from conformance.compiled import direction_of
from conformance.jacobians import harmless
from mtl_keras.balancing import DBMTL


def statement(jacobians, losses, beta):
    """Directions of consecutive calls, as the paper states them."""
    average = np.zeros_like(jacobians[0])
    for jacobian, loss in zip(jacobians, losses, strict=True):
        average = beta * average + (1 - beta) * jacobian / loss[:, None]
        lengths = np.linalg.norm(average, axis=1)
        yield lengths.max() * (average / lengths[:, None]).sum(axis=0)


@pytest.mark.parametrize("beta", [0.0, 0.9])
def test_equation(beta):
    balancer, rng = DBMTL(beta), np.random.default_rng(0)
    jacobians = [harmless(4, seed=seed) for seed in range(4)]
    losses = [rng.uniform(0.1, 3.0, 4) for _ in jacobians]
    found = [direction_of(balancer, j, loss) for j, loss in zip(jacobians, losses, strict=True)]
    np.testing.assert_allclose(
        found, list(statement(jacobians, losses, beta)), rtol=1e-4, atol=1e-5
    )


def test_scale_of_a_loss_does_not_matter():
    jacobian, scale = harmless(3), np.array([1.0, 1e3, 1e-3])
    expected = direction_of(DBMTL(), jacobian, np.ones(3))
    found = direction_of(DBMTL(), scale[:, None] * jacobian, scale)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_negative_losses_lead_downhill():
    jacobian = harmless(1)
    found = direction_of(DBMTL(0.0), jacobian, [-2.0])
    np.testing.assert_allclose(found, jacobian[0] / 2, rtol=1e-5)


@pytest.mark.parametrize("beta", [-0.1, 1.0, "a"])
def test_bad_beta(beta):
    with pytest.raises(ValueError, match=r"`beta` must be.* Received: beta="):
        DBMTL(beta)
