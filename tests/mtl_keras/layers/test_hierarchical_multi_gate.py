"""HierarchicalMultiGate: gates see what the hierarchy allows."""

import keras
import numpy as np
import pytest

from conformance.good_layers import draw
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from conformance.mixture_statements import below, softmax_gated
from mtl_keras.layers import HierarchicalMultiGate

GROUPS = (0, 0, 1)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def bank(weights, name, x):
    """swish(BN(W (x * 2 sigmoid(x A B)) + b)), with the moving statistics."""
    w = below(weights, name)
    # The normalisation sees all experts' channels in one row.
    norm = {key: w[f"norm_0/{key}"].reshape(2, -1) for key in ("gamma", "beta")}
    mean, variance = (w[f"norm_0/moving_{k}"].reshape(2, -1) for k in ("mean", "variance"))
    outputs = []
    for e in range(2):
        read = x * 2 * sigmoid(x @ w["feature_gate_down"][:, e] @ w["feature_gate_up"][:, e])
        h = read @ w["kernel_0"][:, e] + w["bias_0"][e]
        h = (h - mean[e]) / np.sqrt(variance[e] + 1e-3) * norm["gamma"][e] + norm["beta"][e]
        outputs.append(h * sigmoid(h))
    return outputs


def statement(weights, x):
    meta = {name: bank(weights, f"meta_experts_{name}", x) for name in ("shared", 0, 1)}
    z = softmax_gated(below(weights, "gate_shared"), x, meta["shared"] + meta[0] + meta[1])
    groups = [
        softmax_gated(below(weights, f"gate_{g}"), x, meta["shared"] + meta[g]) for g in (0, 1)
    ]
    common = bank(weights, "group_experts_shared", z)
    own = [bank(weights, f"group_experts_{g}", groups[g]) for g in (0, 1)]
    return tuple(
        softmax_gated(
            below(weights, f"gate_task_{k}"),
            groups[g],
            common + own[g] + bank(weights, f"task_experts_{k}", groups[g]),
        )
        for k, g in enumerate(GROUPS)
    )


CASE = LayerCase(
    layer_class=HierarchicalMultiGate,
    config={"groups": GROUPS, "num_experts": 2, "units": 4, "feature_gate_rank": 2},
    inputs=(draw(6, 5),),
    expected=statement,
    training_differs=True,
)


@pytest.mark.parametrize("check", LAYER_CHECKS)
def test_conformance(check):
    LAYER_CHECKS[check](CASE)


def numpy_of(tensors):
    return [keras.ops.convert_to_numpy(tensor) for tensor in tensors]


@pytest.mark.parametrize(
    ("changed", "same"), [(("group_banks", 1), {2}), (("task_banks", 0), {1, 2})]
)
def test_experts_of_another_group_or_task_are_out_of_sight(changed, same):
    layer, x = HierarchicalMultiGate(GROUPS, 2, 4), draw(4, 5)
    before = numpy_of(layer(x))
    name, index = changed
    experts = getattr(layer, name)[index]
    experts.set_weights([w + 0.5 for w in experts.get_weights()])
    after = numpy_of(layer(x))
    for k in range(3):
        assert np.array_equal(after[k], before[k]) == (k in same)


def test_health_reports_the_gates_of_the_tasks():
    layer = HierarchicalMultiGate(GROUPS, 2, 4, track_health=True)
    layer(draw(4, 5), training=True)
    assert [len(usage) for usage in layer.health.by_expert()] == [6, 6, 6]


@pytest.mark.parametrize("groups", [(), (0, 2), (1, 1), (-1, 0)])
def test_groups_must_be_numbered_without_a_gap(groups):
    with pytest.raises(ValueError, match=r"`groups`.*Received: groups="):
        HierarchicalMultiGate(groups, 2, 4)


def test_bad_counts_are_refused():
    with pytest.raises(ValueError, match=r"`num_experts`.*=0"):
        HierarchicalMultiGate((0, 1), 0, 4)
