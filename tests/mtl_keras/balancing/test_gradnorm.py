import numpy as np
import pytest

from conformance.compiled import weights_of
from conformance.jacobians import harmless
from mtl_keras.balancing import GradNorm


def weights(balancer, jacobian, losses=None):
    return weights_of(balancer, jacobian @ jacobian.T, losses)


def statement(jacobians, losses, alpha, step):
    """Weights of consecutive calls."""
    found = np.ones(len(jacobians[0]))
    for jacobian, loss in zip(jacobians, losses, strict=True):
        yield found
        sizes, rates = found * np.linalg.norm(jacobian, axis=1), loss / losses[0]
        wrong = sizes - sizes.mean() * (rates / rates.mean()) ** alpha
        # d (sum |wrong|) / d log w, over the mean size.
        found = found * np.exp(-step * sizes * np.sign(wrong) / sizes.mean())
        found = found * len(found) / found.sum()


@pytest.mark.parametrize("options", [{}, {"alpha": 0.0, "step": 0.3}])
def test_equation(options):
    balancer, rng = GradNorm(**options), np.random.default_rng(0)
    jacobians = [harmless(4, seed=seed) for seed in range(6)]
    losses = [rng.uniform(0.5, 2.0, 4) for _ in jacobians]
    found = [weights(balancer, j, loss) for j, loss in zip(jacobians, losses, strict=True)]
    expected = list(statement(jacobians, losses, **balancer.get_config()))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_settles_where_norms_follow_the_rates(scale):
    jacobian, losses = scale * np.diag([100.0, 1.0, 10.0]), np.array([1.0, 0.5, 2.0])
    balancer = GradNorm(alpha=1.0, step=0.02)
    weights(balancer, jacobian, np.ones(3))
    for _ in range(500):
        found = weights(balancer, jacobian, losses)
    sizes = found * np.diag(jacobian)
    np.testing.assert_allclose(sizes / sizes.mean(), losses / losses.mean(), rtol=0.1)
    assert found.sum() == pytest.approx(3.0, rel=1e-4)


def test_a_task_that_waits_keeps_its_weight():
    jacobian, balancer, other = harmless(3), GradNorm(step=0.5), GradNorm(step=0.5)
    for _ in range(2):
        weights(other, jacobian, [1.0, 2.0, 1.0])
        weights(balancer, jacobian, [1.0, 2.0, 1.0])
    for _ in range(5):
        found = weights(balancer, jacobian * [[1.0], [0.0], [1.0]], [1.0, 0.0, 5.0])
        assert found[1] == 0.0 and found.sum() == pytest.approx(2.0, rel=1e-5)
    found, expected = (weights(b, jacobian, [1.0, 2.0, 1.0]) for b in (balancer, other))
    assert found[1] == pytest.approx(expected[1], rel=1e-5)
    assert found.sum() == pytest.approx(3.0, rel=1e-5)


def test_losses_that_are_not_positive_have_no_rate():
    balancer = GradNorm()
    found = [weights(balancer, harmless(3), loss) for loss in ([1.0, -1.0, 1.0], [2.0, -3.0, 0.5])]
    assert np.isfinite(found).all() and (np.array(found) > 0).all()


@pytest.mark.parametrize("name, value", [("alpha", -1), ("step", 0.0), ("step", "a")])
def test_bad_arguments(name, value):
    with pytest.raises(ValueError, match=f"`{name}` must be.* Received: {name}="):
        GradNorm(**{name: value})
