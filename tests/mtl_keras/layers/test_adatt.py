"""AdaTT: a gated mixture of everyone's experts beside one's own."""

import keras
import numpy as np
import pytest

from conformance.good_layers import draw
from conformance.layer_case import named_weights
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from conformance.mixture_statements import below, expert_outputs, softmax_gated
from mtl_keras.layers import AdaTT, Experts


def statement(weights, features):
    own = [
        expert_outputs(below(weights, name), x, np.tanh)
        for name, x in zip(("experts_0", "experts_1", "shared_experts_0"), features, strict=True)
    ]
    every = [output for bank in own for output in bank]
    return tuple(
        softmax_gated(below(weights, gate), x, every)
        + sum(v * h for v, h in zip(weights["native"][u], own[u], strict=True))
        for u, (gate, x) in enumerate(
            zip(("gate_0", "gate_1", "shared_gate_0"), features, strict=True)
        )
    )


CASE = LayerCase(
    layer_class=AdaTT,
    config={
        "num_tasks": 2,
        "experts": Experts(2, 4, activation="tanh"),
        "num_shared": 1,
        "shared_output": True,
    },
    inputs=(tuple(draw(4, 3, 5) + shift for shift in range(3)),),
    expected=statement,
)


@pytest.mark.parametrize("check", LAYER_CHECKS)
def test_conformance(check):
    LAYER_CHECKS[check](CASE)


def test_own_experts_start_at_their_mean_and_one_at_itself():
    for count in (1, 3):
        layer = AdaTT(2, Experts(count, 4))
        layer.build((None, 5))
        native = keras.ops.convert_to_numpy(layer.native)
        np.testing.assert_allclose(native, np.full((2, count), 1 / count), rtol=1e-6)


def test_levels_stack():
    x = draw(4, 5)
    first = AdaTT(2, Experts(2, 4), num_shared=1, shared_output=True)
    second = AdaTT(2, Experts(1, 3), num_shared=1)
    assert [tuple(y.shape) for y in second(first(x))] == [(4, 3), (4, 3)]


def test_parts_are_named_after_tasks_even_one_called_shared():
    config = dict(CASE.config) | {"task_names": ["clicked", "shared"]}
    layer = AdaTT(**config)
    layer.build((None, 5))
    assert {path.split("/")[0] for path in named_weights(layer)} == {
        *("experts_clicked", "experts_shared", "shared_experts_0"),
        *("gate_clicked", "gate_shared", "shared_gate_0"),
        "native",
    }
    assert AdaTT.from_config(layer.get_config()).get_config()["task_names"] == ["clicked", "shared"]


def test_the_gate_of_an_output_is_its_own():
    layer = CASE.called_layer()
    first, second, shared = ({id(v) for v in read} for read in layer.output_variables())
    assert first - second == {id(layer.gates[0].kernel)}
    assert {id(v) for v in layer.trainable_variables} == set().union(first, second, shared)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"`num_shared`.*=-1"):
        AdaTT(2, Experts(1, 2), num_shared=-1)
    with pytest.raises(ValueError, match=r"`features`.*= 2.*Received: a tuple of 3"):
        AdaTT(2, Experts(1, 2))((draw(2, 4),) * 3)
