import keras
import numpy as np
import pytest

from conformance.compiled import weights_of
from conformance.jacobians import harmless
from mtl_keras.balancing import CRMOGM, MGDA, GradNorm, GradVac, MoDo, get


def weights(balancer, jacobian, losses=None):
    return weights_of(balancer, jacobian @ jacobian.T, losses)


@pytest.mark.parametrize("alpha", [0.0, 0.9])
def test_equation(alpha):
    balancer, inner, expected = CRMOGM("mgda", alpha), MGDA(), None
    for seed in range(4):
        new = weights(inner, harmless(3, seed=seed))
        expected = new if expected is None else alpha * expected + (1 - alpha) * new
        np.testing.assert_allclose(weights(balancer, harmless(3, seed=seed)), expected, atol=1e-5)


def test_a_task_that_waits_does_not_change_the_others():
    balancer, padded = CRMOGM("krum"), CRMOGM("krum")
    for seed in range(3):
        jacobian = harmless(3, seed=seed)
        expected = weights(balancer, jacobian)
        found = weights(padded, np.insert(jacobian, 1, 0.0, axis=0))
        np.testing.assert_allclose(found, np.insert(expected, 1, 0.0), atol=1e-6)


def test_asks_for_what_the_other_rule_needs():
    assert CRMOGM("gradnorm").needs == ("losses",) and CRMOGM("mgda").needs == ()
    assert CRMOGM(MoDo()).samples == 2 and CRMOGM("mgda").samples == 1
    with pytest.raises(ValueError, match="needs `losses`"):
        CRMOGM(GradNorm()).weights(np.eye(2))


def test_config_holds_the_other_rule():
    balancer = CRMOGM(CRMOGM(GradVac(beta=0.5, seed=4), alpha=0.3))
    config = keras.saving.serialize_keras_object(balancer)
    for again in (keras.saving.deserialize_keras_object(config), get(config)):
        assert repr(again) == repr(balancer)
        assert again.balancer.balancer.get_config() == {"beta": 0.5, "seed": 4}


def test_state_of_the_other_rule_is_saved(tmp_path):
    def holder(balancer):
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.balancer_state = balancer.state
        balancer.build(3)
        return model

    balancer, again = (CRMOGM(GradVac(beta=0.5, seed=seed)) for seed in (1, 2))
    models = holder(balancer), holder(again)
    for seed in range(3):
        weights(balancer, harmless(3, size=2, seed=seed))
    models[0].save_weights(tmp_path / "state.weights.h5")
    models[1].load_weights(tmp_path / "state.weights.h5")
    found, expected = (
        [weights(b, harmless(3, size=2, seed=seed)) for seed in range(9)] for b in (again, balancer)
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("balancer", ["sum", "graddrop", None, "nothing"])
def test_bad_balancer(balancer):
    with pytest.raises(ValueError, match="`balancer` must be"):
        CRMOGM(balancer)


def test_bad_alpha():
    with pytest.raises(ValueError, match=r"`alpha` must be.* Received: alpha=1\.0"):
        CRMOGM("mgda", 1.0)
