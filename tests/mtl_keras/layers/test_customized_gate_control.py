"""CustomizedGateControl: own and shared experts, and no others."""

import keras
import numpy as np
import pytest

from conformance.good_layers import draw
from conformance.layer_case import named_weights
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from conformance.mixture_statements import below, expert_outputs, gate_control, softmax_gated
from mtl_keras.layers import CustomizedGateControl, Experts

CASE = LayerCase(
    layer_class=CustomizedGateControl,
    config={
        "num_tasks": 2,
        "task_experts": Experts(2, 4, activation="tanh"),
        "shared_experts": Experts(1, 4, activation="tanh"),
        "shared_output": True,
    },
    inputs=(tuple(draw(4, 3, 5) + shift for shift in range(3)),),
    expected=gate_control,
)


@pytest.mark.parametrize("check", LAYER_CHECKS)
def test_conformance(check):
    LAYER_CHECKS[check](CASE)


def numpy_of(tensors):
    return [keras.ops.convert_to_numpy(tensor) for tensor in tensors]


def test_one_tensor_goes_to_all():
    layer, x = CASE.new_layer(), draw(4, 5)
    weights = {}
    outputs = numpy_of(layer(x))
    for w in layer.weights:
        weights[w.path.split("/", 1)[1]] = keras.ops.convert_to_numpy(w)
    for got, want in zip(outputs, gate_control(weights, x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_a_task_does_not_see_the_experts_of_another():
    layer, x = CustomizedGateControl(2, Experts(2, 4), Experts(1, 4)), draw(4, 5)
    before = numpy_of(layer(x))
    bank = layer.task_banks[1]
    bank.set_weights([w + 1 for w in bank.get_weights()])
    after = numpy_of(layer(x))
    np.testing.assert_array_equal(after[0], before[0])
    assert not np.allclose(after[1], before[1])


def test_without_shared_experts_tasks_are_separate_mixtures():
    layer, x = CustomizedGateControl(2, Experts(2, 4, activation="tanh")), (draw(4, 5), draw(4, 5))
    outputs = numpy_of(layer(x))
    weights = named_weights(layer)
    assert not any("shared" in path for path in weights)
    for k in range(2):
        own = expert_outputs(below(weights, f"experts_{k}"), x[k], np.tanh)
        expected = softmax_gated(below(weights, f"gate_{k}"), x[k], own)
        np.testing.assert_allclose(outputs[k], expected, rtol=1e-5, atol=1e-6)
    own = [
        *layer.task_banks[0].trainable_variables,
        *layer.gates[0].trainable_variables,
    ]
    assert [id(v) for v in layer.output_variables()[0]] == [id(v) for v in own]


def test_parts_are_named_after_tasks_even_one_called_shared():
    config = dict(CASE.config) | {"task_names": ["clicked", "shared"]}
    layer = CustomizedGateControl(**config)
    layer.build((None, 5))
    parts = {path.split("/")[0] for path in named_weights(layer)}
    assert parts == {
        *("experts_clicked", "experts_shared", "shared_experts"),
        *("gate_clicked", "gate_shared", "shared_gate"),
    }
    again = CustomizedGateControl.from_config(layer.get_config())
    assert again.get_config()["task_names"] == ["clicked", "shared"]


def test_no_two_experts_start_equal():
    initializer = keras.initializers.GlorotUniform(seed=1)
    bank = Experts(2, 4, kernel_initializer=initializer)
    layer = CustomizedGateControl(2, bank, Experts(2, 4, kernel_initializer=initializer))
    layer.build((None, 6))
    kernels = [
        keras.ops.convert_to_numpy(b.kernels[0])[:, e].tobytes()
        for b in (*layer.task_banks, layer.shared_bank)
        for e in range(2)
    ]
    assert len(set(kernels)) == 6


def test_health_reports_a_usage_for_each_gate():
    layer = CustomizedGateControl(
        2, Experts(2, 4), Experts(1, 4), shared_output=True, track_health=True
    )
    layer(draw(4, 5), training=True)
    assert [len(usage) for usage in layer.health.by_expert()] == [3, 3, 5]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"`num_tasks`.*=0"):
        CustomizedGateControl(0, Experts(1, 2), Experts(1, 2))
    with pytest.raises(ValueError, match=r"must end in one width.*Received"):
        CustomizedGateControl(2, Experts(1, 2), Experts(1, 3)).build((None, 4))
    with pytest.raises(ValueError, match=r"`shared_output` needs.*Received: shared_output=True"):
        CustomizedGateControl(2, Experts(1, 2), shared_output=True)
    with pytest.raises(ValueError, match=r"`task_names` must be 2 different.*Received.*'a', 'a'"):
        CustomizedGateControl(2, Experts(1, 2), task_names=["a", "a"])
    layer = CustomizedGateControl(2, Experts(1, 2), Experts(1, 2))
    with pytest.raises(ValueError, match=r"`features`.*tuple of `num_tasks` \+ 1 = 3.*of 2"):
        layer((draw(2, 4), draw(2, 4)))
