"""MixtureOfExperts: a gated sum, whichever way it is computed."""

import keras
import numpy as np
import pytest

from conformance.good_layers import draw
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from conformance.mixture_statements import below, expert_outputs, softmax_gated
from mtl_keras.layers import Experts, MixtureOfExperts, SoftmaxGate, TopKGate, mixture_of_experts


def statement(weights, x):
    outputs = expert_outputs(below(weights, "experts"), x, np.tanh)
    return softmax_gated(below(weights, "gate"), x, outputs)


SPARSE = {
    "experts": Experts(8, [6, 4], activation="tanh"),
    "gate": TopKGate(k=1, noisy=False, capacity_factor=8.0, inference_capacity_factor=8.0),
}


def sparse_statement(weights, x):
    outputs = np.stack(expert_outputs(below(weights, "experts"), x, np.tanh), -2)
    best = (x @ weights["gate/kernel"]).argmax(-1)
    return np.take_along_axis(outputs, best[..., None, None], -2)[..., 0, :]


CASES = [
    LayerCase(
        layer_class=MixtureOfExperts,
        config={"experts": Experts(3, [6, 4], activation="tanh"), "gate": SoftmaxGate(dropout=0.3)},
        inputs=(draw(4, 7, 5),),
        expected=statement,
        training_differs=True,
    ),
    LayerCase(
        layer_class=MixtureOfExperts,
        config=SPARSE,
        inputs=(draw(4, 7, 5),),
        expected=sparse_statement,
        dead_gradients=("gate/kernel",),  # With k = 1 the weight of the chosen one is 1.
        name="Sparse mixture",
    ),
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("factor", [0.5, 1.25])
def test_skipping_work_changes_nothing(monkeypatch, training, factor):
    gate = TopKGate(k=2, noisy=False, capacity_factor=factor, inference_capacity_factor=factor)
    layer, x = MixtureOfExperts(Experts(16, [6, 4]), gate), draw(5, 20, 7)
    calls = []
    dispatched = layer.experts.dispatched
    monkeypatch.setattr(
        layer.experts, "dispatched", lambda *args: calls.append(1) or dispatched(*args)
    )
    sparse = layer(x, training=training)
    assert calls
    monkeypatch.setattr(mixture_of_experts, "pays", lambda *_: False)
    dense = layer(x, training=training)
    assert len(calls) == 1
    np.testing.assert_allclose(
        *map(keras.ops.convert_to_numpy, (sparse, dense)), rtol=1e-5, atol=1e-6
    )


def test_the_context_may_weigh_all_positions_of_a_row_alike():
    layer = MixtureOfExperts(Experts(3, expert=keras.layers.Conv2D(4, 3, padding="same")))
    images, context = draw(2, 6, 6, 1), draw(2, 5)
    y = keras.ops.convert_to_numpy(layer(images, context))
    gates = keras.ops.convert_to_numpy(layer.gates[0](context))
    outputs = keras.ops.convert_to_numpy(layer.experts(images))
    expected = np.einsum("be,bhwec->bhwc", gates, outputs)
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-6)


def test_the_pattern_stays_as_it_is():
    experts = Experts(2, 3)
    MixtureOfExperts(experts)(draw(2, 4))
    assert not experts.built


def test_a_built_bank_is_refused():
    experts = Experts(2, 3)
    experts.build((None, 4))
    with pytest.raises(ValueError, match=r"must not be built. Received: the built layer"):
        MixtureOfExperts(experts)


@pytest.mark.parametrize(
    ("experts", "gate", "message"),
    [
        (Experts(3, 2), SoftmaxGate(4), "`gate` must be over 3 experts.*Received: a gate over 4"),
        (Experts(3, 2), keras.layers.Dense(3), "`gate` must be a gate.*Received"),
        (Experts(3, 2), TopKGate(k=4), "`k` must not be above `num_experts`, 3"),
        (keras.layers.Dense(3), None, "Experts must be given.*Received"),
    ],
)
def test_bad_arguments_are_refused(experts, gate, message):
    with pytest.raises(ValueError, match=message):
        MixtureOfExperts(experts, gate)


def test_gates_that_are_not_finite_are_refused():
    layer, x = MixtureOfExperts(Experts(2, 3)), draw(2, 4)
    x[0, 0] = np.nan
    with pytest.raises(ValueError, match=r"`gates` must be finite. Received: gates with NaN"):
        layer(x)
