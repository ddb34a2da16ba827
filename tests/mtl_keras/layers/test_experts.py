"""Experts: each is the network that it says, drawn on its own."""

import keras
import numpy as np
import pytest

from conformance.good_layers import draw
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from conformance.mixture_statements import expert_outputs
from mtl_keras.layers import Experts


def normalized(x):
    # Keras's epsilon of a layer normalisation.
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-3)


def statement(weights, x):
    outputs = []
    for e in range(3):
        h = x
        for i in range(2):
            h = h @ weights[f"kernel_{i}"][:, e] + weights[f"bias_{i}"][e]
            h = np.tanh(normalized(h) * weights[f"gamma_{i}"][e] + weights[f"beta_{i}"][e])
        outputs.append(h)
    return np.stack(outputs, -2)


def convolution_statement(weights, x):
    outputs = []
    for e in range(2):
        kernel = weights[f"expert_{e}/kernel"]
        outputs.append(
            sum(x[:, i : i + 3, j : j + 3] @ kernel[i, j] for i in range(2) for j in range(2))
            + weights[f"expert_{e}/bias"]
        )
    return np.stack(outputs, -2)


CASES = [
    LayerCase(
        layer_class=Experts,
        config={
            "num_experts": 3,
            "units": [6, 4],
            "activation": "tanh",
            "normalization": "layer",
            "dropout": 0.3,
        },
        inputs=(draw(4, 7, 5),),
        expected=statement,
        training_differs=True,
    ),
    LayerCase(
        layer_class=Experts,
        config={"num_experts": 2, "expert": keras.layers.Conv2D(3, 2)},
        inputs=(draw(3, 4, 4, 2),),
        expected=convolution_statement,
        name="Experts of convolutions",
    ),
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


def values(layer):
    return {w.path.split("/", 1)[1]: keras.ops.convert_to_numpy(w) for w in layer.weights}


INITIALIZERS = {
    "name": "he_normal",
    "object": keras.initializers.HeNormal(),
    "seeded object": keras.initializers.HeNormal(seed=3),
}


@pytest.mark.parametrize("initializer", INITIALIZERS.values(), ids=INITIALIZERS.keys())
def test_no_two_kernels_start_equal_and_each_has_the_fan_of_one_expert(initializer):
    keras.utils.set_random_seed(0)
    layer = Experts(4, [64, 64], kernel_initializer=initializer)
    layer.build((None, 64))
    kernels = [
        values(layer)[name][:, e].ravel() for name in ("kernel_0", "kernel_1") for e in range(4)
    ]
    # Four standard errors of 4096 draws.
    assert np.abs(np.corrcoef(kernels) - np.eye(8)).max() < 0.07
    for kernel in kernels:
        assert kernel.std() == pytest.approx(np.sqrt(2 / 64), rel=0.06)


@pytest.mark.parametrize("seed", [None, 3])
def test_copies_of_a_layer_start_different(seed):
    pattern = keras.layers.Dense(8, kernel_initializer=keras.initializers.GlorotUniform(seed))
    layer = Experts(3, expert=pattern)
    layer.build((None, 8))
    kernels = [v.ravel() for path, v in values(layer).items() if "kernel" in path]
    assert len(kernels) == 3
    assert np.abs(np.corrcoef(kernels) - np.eye(3)).max() < 0.6  # 64 draws each
    assert not pattern.built


def test_a_function_or_a_list_gives_experts_of_different_kinds():
    make = {0: keras.layers.Dense(4, "tanh"), 1: keras.layers.Dense(4, "relu")}
    x = draw(3, 5)
    for expert in (lambda index: make[index], list(make.values())):
        layer = Experts(2, expert=expert)
        y = keras.ops.convert_to_numpy(layer(x))
        w = values(layer)
        first = np.tanh(x @ w["expert_0/kernel"])
        np.testing.assert_allclose(y[:, 0], first, rtol=1e-5, atol=1e-6)
        assert y[:, 1].min() == 0


def test_one_expert_is_a_stack_of_dense_layers():
    x, layer = draw(6, 5), Experts(1, [4, 3])
    y = layer(x)
    w = values(layer)
    stack = keras.Sequential([keras.layers.Dense(4, "relu"), keras.layers.Dense(3, "relu")])
    stack.build((None, 5))
    stack.set_weights([w["kernel_0"][:, 0], w["bias_0"][0], w["kernel_1"][:, 0], w["bias_1"][0]])
    np.testing.assert_allclose(
        *map(keras.ops.convert_to_numpy, (y[:, 0], stack(x))), rtol=1e-6, atol=1e-6
    )


def test_batch_normalization_is_each_experts_own():
    x, layer = draw(64, 5), Experts(3, 4, activation="linear", normalization="batch")
    y = keras.ops.convert_to_numpy(layer(x, training=True))
    w = values(layer)
    raw = np.stack([x @ w["kernel_0"][:, e] + w["bias_0"][e] for e in range(3)], 1)
    expected = (raw - raw.mean(0)) / np.sqrt(raw.var(0) + 1e-3)
    np.testing.assert_allclose(y, expected, atol=1e-4)  # a mean and variance of 64 rows


def test_a_feature_gate_scales_what_each_expert_reads():
    x, layer = draw(4, 3, 5), Experts(2, 4, feature_gate_rank=2)
    y = keras.ops.convert_to_numpy(layer(x))
    w = values(layer)
    for e in range(2):
        logits = x @ w["feature_gate_down"][:, e] @ w["feature_gate_up"][:, e]
        read = x * 2 / (1 + np.exp(-logits))
        expected = np.maximum(read @ w["kernel_0"][:, e] + w["bias_0"][e], 0)
        np.testing.assert_allclose(y[..., e, :], expected, rtol=1e-5, atol=1e-6)


def test_permuting_experts_permutes_their_outputs_exactly():
    x, order = draw(4, 5), [2, 0, 1]
    layer, permuted = Experts(3, [6, 4]), Experts(3, [6, 4])
    y = layer(x)
    permuted.build((None, 5))
    for weight, other in zip(permuted.weights, layer.weights, strict=True):
        value = keras.ops.convert_to_numpy(other)
        weight.assign(np.take(value, order, axis=value.ndim - 2))
    y, z = (keras.ops.convert_to_numpy(t) for t in (y, permuted(x)))
    # The order of the columns of a product may change the order of its sums.
    np.testing.assert_allclose(z, y[:, order], rtol=1e-6, atol=1e-6)


def test_dispatched_rows_are_the_gated_sum():
    rng = np.random.default_rng(0)
    x, layer = draw(30, 5), Experts(4, [6, 3])
    layer.build((None, 5))
    gates = np.zeros((30, 4), "float32")
    for row in gates[:-1]:  # The last row has no expert at all.
        row[rng.choice(4, 2, replace=False)] = rng.uniform(0.1, 1, 2)
    capacity = int((gates > 0).sum(0).max())
    found = layer.dispatched(x, keras.ops.convert_to_tensor(gates), 2, capacity, False)
    outputs = expert_outputs(values(layer), x)
    expected = sum(gates[:, e, None] * outputs[e] for e in range(4))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), expected, rtol=1e-5, atol=1e-5)
    assert not expected[-1].any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_experts": 0, "units": 4}, "`num_experts`.*Received: num_experts=0"),
        ({"num_experts": 2}, "`units` and `expert`.*units=None, expert=None"),
        ({"num_experts": 2, "units": []}, "`units` must hold at least one.*Received"),
        ({"num_experts": 2, "units": [4, 0]}, "`units`.*Received: units=0"),
        ({"num_experts": 2, "units": 4, "dropout": 1.0}, "`dropout`.*Received: dropout=1.0"),
        ({"num_experts": 2, "units": 4, "normalization": "l2"}, "`normalization`.*'l2'"),
        ({"num_experts": 2, "units": 4, "feature_gate_rank": 0}, "`feature_gate_rank`.*=0"),
        ({"num_experts": 2, "expert": [keras.layers.Dense(2)]}, "`expert` must give 2 layers"),
        ({"num_experts": 2, "expert": [keras.layers.Dense(2)] * 2}, "each another object"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Experts(**arguments)


def test_experts_of_different_widths_are_refused():
    layer = Experts(2, expert=[keras.layers.Dense(2), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match=r"`expert`.*one shape.*\(None, 2\), \(None, 3\)"):
        layer.build((None, 4))
