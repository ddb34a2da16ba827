"""TopKGate: k experts a row, balanced by losses of their own keys."""

import keras
import numpy as np
import pytest

from conformance.good_layers import draw
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from conformance.mixture_statements import softmax
from mtl_keras.layers import TopKGate


def statement(weights, x, k=2):
    logits = x @ weights["kernel"]
    smallest = np.sort(logits, -1)[..., -k, None]
    return softmax(np.where(logits >= smallest, logits, -np.inf))


CASE = LayerCase(
    layer_class=TopKGate,
    config={"num_experts": 4, "k": 2},
    inputs=(draw(6, 3, 5),),
    expected=statement,
    training_differs=True,
)


@pytest.mark.parametrize("check", LAYER_CHECKS)
def test_conformance(check):
    LAYER_CHECKS[check](CASE)


def kernel_of(gate):
    return keras.ops.convert_to_numpy(gate.kernel)


def losses_in_numpy(x, kernel, k):
    logits = x @ kernel
    chosen = logits >= np.sort(logits, -1)[:, -k, None]
    balance = kernel.shape[1] * np.sum(chosen.mean(0) / k * softmax(logits).mean(0))
    return balance, np.mean(np.log(np.exp(logits).sum(-1)) ** 2)


def test_losses_equal_their_equations():
    gate, x = TopKGate(4, k=2, noisy=False, load_balancing=0.5, z_loss=0.25), draw(40, 5)
    gate(x, training=True)
    balance, z = losses_in_numpy(x, kernel_of(gate), 2)
    np.testing.assert_allclose([float(v) for v in gate.losses], [0.5 * balance, 0.25 * z], 1e-5)


def test_masked_positions_count_in_no_loss():
    gate, x = TopKGate(4, k=2, noisy=False, load_balancing=1.0, z_loss=1.0), draw(20, 3, 5)
    mask = np.arange(3) < np.random.default_rng(0).integers(1, 4, (20, 1))
    gate(x, mask=mask, training=True)
    expected = losses_in_numpy(x[mask], kernel_of(gate), 2)
    np.testing.assert_allclose([float(v) for v in gate.losses], expected, rtol=1e-5)


def test_inference_adds_no_loss():
    gate = TopKGate(4)
    gate(draw(4, 3))
    assert not gate.losses


@pytest.mark.skipif(
    keras.backend.backend() == "jax", reason="Keras has no metrics of layers in a fit on JAX"
)
def test_a_fit_logs_both_losses_of_each_gate_under_keys_of_its_own():
    x = keras.Input((5,))
    y = [TopKGate(4, name=name)(x) for name in ("left", "right")]
    model = keras.Model(x, keras.layers.Add()(y))
    model.compile("sgd", "mse")
    logs = model.fit(draw(32, 5), draw(32, 4), verbose=0).history
    keys = {f"{s}_{n}" for s in ("left", "right") for n in ("load_balancing_loss", "z_loss")}
    assert keys < set(logs)
    assert all(np.isfinite(logs[key]).all() for key in keys)
    found = model.evaluate(draw(32, 5), draw(32, 4), verbose=0, return_dict=True)
    assert all(np.isnan(found[key]) for key in keys)


def test_balancing_spreads_rows_over_experts():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, 4)).astype("float32")
    x[:, 0] = 1.0
    start = rng.normal(size=(4, 4)).astype("float32")
    start[0, 0] = 8.0  # Expert 0 is everyone's favourite.
    share = {}
    for weight in (0.0, 1.0):
        gate = TopKGate(4, k=1, noisy=False, load_balancing=weight, z_loss=0.0)
        inputs = keras.Input((4,))
        model = keras.Model(inputs, gate(inputs))
        gate.kernel.assign(start)
        model.compile(keras.optimizers.Adam(0.1), loss=lambda y, p: 0.0 * keras.ops.sum(p))
        model.fit(x, np.zeros((256, 4)), batch_size=64, epochs=40, verbose=0)
        weights = keras.ops.convert_to_numpy(gate(x))
        share[weight] = (weights > 0).mean(0).max()
    assert share[0.0] > 0.9
    assert share[1.0] < 0.5


def test_noise_is_learned_and_training_only():
    gate, x = TopKGate(6, k=1, seed=0), draw(200, 4)
    first, second = (keras.ops.convert_to_numpy(gate(x, training=True)) for _ in range(2))
    assert (first.argmax(-1) != second.argmax(-1)).any()
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(gate(x)) for _ in range(2)))


@pytest.mark.parametrize("training", [True, False])
def test_capacity_serves_the_first_rows_of_an_expert(training):
    gate = TopKGate(4, k=2, noisy=False, capacity_factor=0.5, inference_capacity_factor=0.5)
    free = TopKGate(4, k=2, noisy=False)
    x = draw(40, 5)
    limited = keras.ops.convert_to_numpy(gate(x, training=training))
    free.build((None, 5))
    free.set_weights(gate.get_weights())
    full = keras.ops.convert_to_numpy(free(x))
    capacity = int(np.ceil(0.5 * 2 * 40 / 4))
    served = (full > 0) & (np.cumsum(full > 0, 0) <= capacity)
    np.testing.assert_array_equal(limited, np.where(served, full, 0))
    assert (limited == 0).sum() > (full == 0).sum()


def test_masked_positions_take_no_capacity():
    gate = TopKGate(1, k=1, noisy=False, inference_capacity_factor=0.5)
    mask = np.array([[False, False, True, True]])
    weights = keras.ops.convert_to_numpy(gate(draw(1, 4, 3), mask=mask))
    np.testing.assert_array_equal(weights[0, 2:, 0], [1, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_experts": 3, "k": 4}, "`k` must not be above `num_experts`, 3.*k=4"),
        ({"num_experts": 3, "k": 0}, "`k`.*=0"),
        ({"num_experts": 3, "capacity_factor": 0}, "`capacity_factor`.*=0"),
        ({"num_experts": 3, "load_balancing": -1}, "`load_balancing`.*=-1"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TopKGate(**arguments)


def test_a_pattern_with_too_large_a_k_is_refused_where_it_is_used():
    with pytest.raises(ValueError, match=r"`k` must not be above `num_experts`, 2.*k=3"):
        TopKGate(k=3).for_experts(2)
