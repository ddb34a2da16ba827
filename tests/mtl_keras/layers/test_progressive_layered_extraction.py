"""ProgressiveLayeredExtraction: levels that feed each other."""

import keras
import numpy as np
import pytest

from conformance.good_layers import draw
from conformance.layer_case import named_weights
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from conformance.mixture_statements import below, gate_control
from mtl_keras.layers import CustomizedGateControl, Experts, ProgressiveLayeredExtraction


def statement(weights, x):
    first = gate_control(below(weights, "level_0"), x)
    return gate_control(below(weights, "level_1"), first)


CASE = LayerCase(
    layer_class=ProgressiveLayeredExtraction,
    config={
        "num_tasks": 2,
        "task_experts": [Experts(2, 4, activation="tanh"), Experts(1, 3, activation="tanh")],
        "shared_experts": [Experts(1, 4, activation="tanh"), Experts(2, 3, activation="tanh")],
        "levels": 2,
    },
    inputs=(draw(4, 5),),
    expected=statement,
)


@pytest.mark.parametrize("check", LAYER_CHECKS)
def test_conformance(check):
    LAYER_CHECKS[check](CASE)


def test_the_first_level_has_a_shared_gate_over_all_experts_and_the_last_has_none():
    layer = ProgressiveLayeredExtraction(2, Experts(2, 4), Experts(3, 4), levels=3)
    layer.build((None, 5))
    sizes = [[gate.num_experts for gate in level.gates] for level in layer.extractions]
    assert sizes == [[5, 5, 7], [5, 5, 7], [5, 5]]


def test_one_level_is_customized_gate_control():
    x = draw(4, 5)
    layer = ProgressiveLayeredExtraction(2, Experts(2, 4), Experts(1, 4), levels=1)
    single = CustomizedGateControl(2, Experts(2, 4), Experts(1, 4))
    outputs = layer(x)
    single.build((None, 5))
    single.set_weights(layer.get_weights())
    for got, want in zip(outputs, single(x), strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (got, want)))


def test_without_shared_experts_no_task_reads_another():
    layer, x = ProgressiveLayeredExtraction(2, Experts(2, 4), levels=3), draw(4, 5)
    before = [keras.ops.convert_to_numpy(y) for y in layer(x)]
    again = ProgressiveLayeredExtraction.from_config(layer.get_config())
    again.build((None, 5))
    assert [w.shape for w in again.weights] == [w.shape for w in layer.weights]
    own = {id(v) for v in layer.output_variables()[0]}
    assert not own & {id(v) for v in layer.output_variables()[1]}
    for level in layer.extractions:
        for part in (level.task_banks[1], level.gates[1]):
            part.set_weights([w + 1 for w in part.get_weights()])
    after = [keras.ops.convert_to_numpy(y) for y in layer(x)]
    np.testing.assert_array_equal(after[0], before[0])
    assert not np.allclose(after[1], before[1])


def test_levels_name_their_parts_after_tasks():
    names = ["clicked", "liked"]
    layer = ProgressiveLayeredExtraction(2, Experts(2, 4), Experts(1, 4), task_names=names)
    layer.build((None, 5))
    assert {"level_0/gate_clicked/kernel", "level_1/gate_liked/kernel"} <= set(named_weights(layer))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"`levels`.*=0"):
        ProgressiveLayeredExtraction(2, Experts(1, 2), Experts(1, 2), levels=0)
    with pytest.raises(ValueError, match=r"`task_experts`.*each of 2 levels.*Received: 3"):
        ProgressiveLayeredExtraction(2, [Experts(1, 2)] * 3, Experts(1, 2))
    with pytest.raises(ValueError, match=r"`shared_experts`.*one for each of 2.*None"):
        ProgressiveLayeredExtraction(2, Experts(1, 2), [None, Experts(1, 2)])
