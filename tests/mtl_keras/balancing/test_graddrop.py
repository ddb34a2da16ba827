import numpy as np
import pytest

from conformance.compiled import direction_of
from conformance.jacobians import harmless
from mtl_keras.balancing import GradDrop


def direction(balancer, jacobian):
    return direction_of(balancer, jacobian)


def candidates(jacobian, leak):
    """The two values that each entry may take: the positive sign is drawn, or the negative one."""
    leak = np.broadcast_to(leak, len(jacobian))[:, None]
    keep_positive = np.where(jacobian > 0, 1.0, leak)
    keep_negative = np.where(jacobian < 0, 1.0, leak)
    return (keep_positive * jacobian).sum(0), (keep_negative * jacobian).sum(0)


@pytest.mark.parametrize("leak", [0.0, 0.3, [0.0, 0.5, 1.0]])
def test_each_entry_keeps_one_sign(leak):
    jacobian = harmless(3, size=200)
    found = direction(GradDrop(leak=leak, seed=1), jacobian)
    positive, negative = candidates(jacobian, leak)
    chosen = np.isclose(found, positive, rtol=1e-5), np.isclose(found, negative, rtol=1e-5)
    assert (chosen[0] | chosen[1]).all()
    # Both signs are drawn somewhere.
    assert not chosen[0].all() and not chosen[1].all()


def test_a_sign_is_drawn_as_often_as_its_purity_says():
    jacobian = np.repeat([[3.0], [-1.0]], 20_000, axis=1)
    found = direction(GradDrop(seed=0), jacobian)
    assert set(np.unique(found)) == {3.0, -1.0}
    # Purity (1 + 2 / 4) / 2; the standard error is 0.003.
    assert np.mean(found > 0) == pytest.approx(0.75, abs=0.015)


def test_draws_go_on_and_repeat_with_the_seed():
    jacobian = harmless(3, size=50)
    balancers = [GradDrop(seed=0), GradDrop(seed=0), GradDrop(seed=1)]
    first, again, other = ([direction(b, jacobian) for _ in range(2)] for b in balancers)
    np.testing.assert_array_equal(first, again)
    assert (first[0] != first[1]).any() and (first[0] != other[0]).any()


def test_entries_without_a_gradient_stay_zero():
    jacobian = harmless(3)
    jacobian[:, 2] = 0.0
    assert direction(GradDrop(seed=0), jacobian)[2] == 0.0


@pytest.mark.parametrize("leak", [-0.1, 1.1, "half", [0.5, 2.0], True])
def test_bad_leak(leak):
    with pytest.raises(ValueError, match=r"`leak` must be.* Received: leak="):
        GradDrop(leak=leak)


def test_leaks_fit_the_tasks():
    with pytest.raises(ValueError, match="one entry a task"):
        GradDrop(leak=[0.5, 0.5]).direction(harmless(3))
