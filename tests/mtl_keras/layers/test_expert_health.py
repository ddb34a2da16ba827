"""ExpertHealth: what gates and experts did, in training only."""

import keras
import numpy as np
import pytest

from conformance.good_layers import draw
from mtl_keras.layers import ExpertHealth, Experts, MixtureOfExperts, MultiGateMixtureOfExperts


def numbers(health):
    return {key.removeprefix("bank_"): float(value) for key, value in health.result().items()}


def test_values_equal_their_definitions():
    rng = np.random.default_rng(0)
    gates = [rng.dirichlet(np.ones(3), 20).astype("float32") for _ in range(2)]
    outputs = rng.normal(size=(20, 3, 4)).astype("float32")
    health = ExpertHealth("bank", [3, 3])
    health.update_state(gates, outputs)

    def entropy(p):
        return -(p * np.log(p)).sum(-1)

    flat = outputs.transpose(1, 0, 2).reshape(3, -1)
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    found = numbers(health)
    expected = {
        "utilisation": np.mean([np.exp(entropy(g.mean(0))) / 3 for g in gates]),
        "gate_entropy": np.mean([entropy(g).mean() / np.log(3) for g in gates]),
        "expert_similarity": np.mean((unit @ unit.T)[~np.eye(3, dtype=bool)]),
    }
    assert found == pytest.approx(expected, rel=1e-4)  # float32 sums of logarithms
    np.testing.assert_allclose(health.by_expert()[1], gates[1].mean(0), rtol=1e-5)


def test_degenerate_gates_and_experts():
    health = ExpertHealth("bank", [4])
    assert all(np.isnan(value) for value in numbers(health).values())
    one_hot = np.eye(4, dtype="float32")[[0] * 6]
    health.update_state([one_hot], np.ones((6, 4, 2), "float32"))
    expected = {"utilisation": 0.25, "gate_entropy": 0.0, "expert_similarity": 1.0}
    assert numbers(health) == pytest.approx(expected, abs=1e-6)
    health.reset_state()
    assert all(np.isnan(value) for value in numbers(health).values())


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="Keras has no metrics of layers in a fit on JAX"
)
def test_it_is_opt_in_under_unique_keys_and_only_in_training():
    inputs = keras.Input((5,))
    first = MultiGateMixtureOfExperts(2, Experts(3, 4), track_health=True, name="first")
    second = MixtureOfExperts(Experts(3, 4), track_health=True, name="second")
    silent = MixtureOfExperts(Experts(3, 4), name="silent")
    a, b = first(inputs)
    model = keras.Model(inputs, silent(second(keras.layers.Add()([a, b]))))
    model.compile("sgd", "mse")
    x, y = draw(32, 5), draw(32, 4)
    logs = model.fit(x, y, verbose=0).history
    keys = {
        f"{name}_experts_{what}"
        for name in ("first", "second")
        for what in ("utilisation", "gate_entropy", "expert_similarity")
    }
    assert set(logs) == keys | {"loss"}
    assert all(np.isfinite(logs[key]).all() for key in keys)
    used = first.health.by_expert()[0]
    model.predict(x, verbose=0)
    np.testing.assert_array_equal(first.health.by_expert()[0], used)
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    assert all(np.isnan(found[key]) for key in keys)
