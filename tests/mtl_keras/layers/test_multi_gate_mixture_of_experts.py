"""MultiGateMixtureOfExperts: what its gates make of it."""

import keras
import numpy as np
import pytest

from conformance.good_layers import draw
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from conformance.mixture_statements import below, expert_outputs, softmax_gated
from mtl_keras.layers import Experts, Gate, MixtureOfExperts, MultiGateMixtureOfExperts


def statement(weights, x, context):
    outputs = expert_outputs(below(weights, "experts"), x, np.tanh)
    gates = [below(weights, f"gate_{k}") for k in range(2)]
    return tuple(softmax_gated(gate, context, outputs) for gate in gates)


MASK = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], bool)
CASE = LayerCase(
    layer_class=MultiGateMixtureOfExperts,
    config={"num_tasks": 2, "experts": Experts(3, [6, 4], activation="tanh")},
    inputs=(draw(4, 3, 5), draw(4, 3, 2)),
    masks=(MASK, None),
    expected=statement,
)


@pytest.mark.parametrize("check", LAYER_CHECKS)
def test_conformance(check):
    LAYER_CHECKS[check](CASE)


@keras.saving.register_keras_serializable(package="conformance")
class OneHotGate(Gate):
    """Task k chooses expert k."""

    def call(self, features, training=None):
        index = int(self.name.removeprefix("gate_"))
        row = keras.ops.one_hot(index, self.num_experts, dtype=self.compute_dtype)
        return keras.ops.zeros_like(features[..., :1]) + row


def numpy_of(tensors):
    return [keras.ops.convert_to_numpy(tensor) for tensor in tensors]


def test_one_hot_gates_make_separate_networks():
    layer, x = MultiGateMixtureOfExperts(3, Experts(3, [6, 4]), OneHotGate()), draw(5, 7)
    outputs = numpy_of(layer(x))
    bank = layer.experts
    for k in range(3):
        network = keras.Sequential([keras.layers.Dense(6, "relu"), keras.layers.Dense(4, "relu")])
        network.build((None, 7))
        stacks = (bank.kernels[0], bank.biases[0], bank.kernels[1], bank.biases[1])
        network.set_weights([keras.ops.convert_to_numpy(s)[..., k, :] for s in stacks])
        expected = keras.ops.convert_to_numpy(network(x))
        np.testing.assert_allclose(outputs[k], expected, rtol=1e-6, atol=1e-6)


def test_equal_gates_make_a_mixture_of_one_gate():
    layer, x = MultiGateMixtureOfExperts(2, Experts(3, [6, 4])), draw(5, 7)
    single = MixtureOfExperts(Experts(3, [6, 4]))
    single.build((None, 7))
    layer.build((None, 7))
    single.experts.set_weights(layer.experts.get_weights())
    for gate in (layer.gates[1], single.gates[0]):
        gate.set_weights(layer.gates[0].get_weights())
    first, second = numpy_of(layer(x))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, *numpy_of([single(x)]), rtol=1e-6, atol=1e-6)


def test_one_expert_makes_a_dense_stack_for_all_tasks():
    layer, x = MultiGateMixtureOfExperts(2, Experts(1, 4)), draw(5, 7)
    first, second = numpy_of(layer(x))
    dense = keras.layers.Dense(4, "relu")
    dense.build((None, 7))
    dense.set_weights([w[..., 0, :] for w in layer.experts.get_weights()])
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, *numpy_of([dense(x)]), rtol=1e-6, atol=1e-6)


def copy_with(layer, change):
    twin = MultiGateMixtureOfExperts.from_config(layer.get_config())
    twin.build((None, 7))
    twin.experts.set_weights([change(w) for w in layer.experts.get_weights()])
    return twin


def test_permuting_experts_with_their_gate_columns_changes_nothing():
    layer, x, order = MultiGateMixtureOfExperts(2, Experts(4, [6, 3])), draw(5, 7), [2, 0, 3, 1]
    expected = numpy_of(layer(x))
    twin = copy_with(layer, lambda w: w[..., order, :])
    for gate, other in zip(twin.gates, layer.gates, strict=True):
        gate.set_weights([w[..., order] for w in other.get_weights()])
    for got, want in zip(numpy_of(twin(x)), expected, strict=True):
        # A permuted sum rounds differently.
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_permuting_tasks_with_their_gates_permutes_outputs_exactly():
    layer, x, order = MultiGateMixtureOfExperts(3, Experts(4, [6, 3])), draw(5, 7), [2, 0, 1]
    expected = numpy_of(layer(x))
    twin = copy_with(layer, lambda w: w)
    for gate, index in zip(twin.gates, order, strict=True):
        gate.set_weights(layer.gates[index].get_weights())
    for got, index in zip(numpy_of(twin(x)), order, strict=True):
        np.testing.assert_array_equal(got, expected[index])


def test_gates_and_experts_all_start_different():
    layer = MultiGateMixtureOfExperts(3, Experts(3, 5))
    layer.build((None, 7))
    gates = [w.get_weights()[0] for w in layer.gates]
    assert not any(np.allclose(gates[i], gates[j]) for i in range(3) for j in range(i))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"`num_tasks`.*Received: num_tasks=0"):
        MultiGateMixtureOfExperts(0, Experts(2, 3))


def test_gates_are_named_after_tasks():
    layer = MultiGateMixtureOfExperts(2, Experts(2, 3), task_names=["clicked", "liked"])
    assert [gate.name for gate in layer.gates] == ["gate_clicked", "gate_liked"]
    again = MultiGateMixtureOfExperts.from_config(layer.get_config())
    assert [gate.name for gate in again.gates] == ["gate_clicked", "gate_liked"]
    with pytest.raises(ValueError, match=r"`task_names` must be 2 .*Received: task_names='ab'"):
        MultiGateMixtureOfExperts(2, Experts(2, 3), task_names="ab")
