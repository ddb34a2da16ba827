"""MultiplicativeConditioning starts as the identity and contains gates and separate heads."""

import keras
import numpy as np
import pytest

from conformance.layer_case import arrays
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.multiplicative_conditioning import MultiplicativeConditioning
from mtl_keras.layers.task_gate import TaskGate


def draw(*shape):
    return np.random.default_rng(shape).standard_normal(shape).astype("float32")


def statement(weights, features, context):
    factor = context @ weights["context_kernel"] + weights["context_bias"]
    return (features @ weights["kernel"]) * factor[:, None]


CASES = [
    LayerCase(
        layer_class=MultiplicativeConditioning,
        config={},
        inputs=(draw(4, 3, 5), draw(4, 2)),
        masks=(np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], bool), None),
        expected=statement,
    )
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 4), (3, 2, 2, 4)])
def test_starts_as_the_identity_for_every_context(shape):
    features = draw(*shape)
    output = arrays(MultiplicativeConditioning()(features, draw(3, 2)))
    np.testing.assert_array_equal(output, features)


def test_starts_as_the_plain_projection_where_the_width_changes():
    layer = MultiplicativeConditioning(3)
    features = draw(3, 4)
    output = arrays(layer(features, draw(3, 2)))
    projected = features @ arrays(layer.kernel)
    np.testing.assert_allclose(output, projected, rtol=1e-6, atol=1e-6)


def test_without_bias_starts_as_the_identity_for_tasks_and_their_mixtures():
    layer = MultiplicativeConditioning(num_tasks=2, use_bias=False)
    features = draw(3, 4)
    np.testing.assert_array_equal(arrays(layer(features, np.array([0, 1, 0]))), features)
    mixtures = np.array([[0.5, 0.5], [1, 0], [0.25, 0.75]], "float32")
    np.testing.assert_array_equal(arrays(layer(features, mixtures)), features)


def test_contains_the_gate_of_linear_branches():
    branch = keras.layers.Dense(2, use_bias=False)
    gate = TaskGate(branch, num_tasks=3)
    features, ids = draw(5, 4), np.array([2, 0, 1, 1, 2])
    gated = arrays(gate(features, ids))
    kernels = [arrays(branch.kernel) for branch in gate.branches]
    blocks = np.kron(np.eye(3), np.ones((1, 2)))
    np.testing.assert_allclose(summed_blocks(features, ids, kernels, blocks), gated, rtol=1e-6)


def test_contains_separate_heads():
    heads = [keras.layers.Dense(1, use_bias=False, name=f"head_{i}") for i in range(3)]
    features, ids = draw(5, 4), np.array([2, 0, 1, 1, 2])
    outputs = np.stack([arrays(head(features)) for head in heads])
    kernels = [arrays(head.kernel) for head in heads]
    own = outputs[ids, np.arange(5)]
    np.testing.assert_allclose(summed_blocks(features, ids, kernels, np.eye(3)), own, rtol=1e-6)


def summed_blocks(features, ids, kernels, blocks):
    """W1 stacks the kernels, W2 opens the task's block, and the blocks are summed."""
    layer = MultiplicativeConditioning(blocks.shape[1], num_tasks=3, use_bias=False)
    layer.build(features.shape, ids.shape)
    layer.kernel.assign(np.concatenate(kernels, -1))
    layer.context_kernel.assign(blocks)
    output = arrays(layer(features, ids))
    return output.reshape(len(ids), len(kernels), -1).sum(1)


def test_initializers_and_regularizers_reach_their_weights():
    layer = MultiplicativeConditioning(
        kernel_initializer="ones",
        context_initializer="ones",
        kernel_regularizer=keras.regularizers.L1(1.0),
        context_regularizer=keras.regularizers.L1(10.0),
    )
    layer.build((None, 4), (None, 2))
    assert arrays(sum(layer.losses)) == 16 * 1 + 8 * 10


@pytest.mark.parametrize(("argument", "value"), [("units", 0), ("num_tasks", 0)])
def test_bad_arguments_are_refused(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be .*Received: {argument}={value}"):
        MultiplicativeConditioning(**{argument: value})


def test_a_bad_context_is_refused():
    layer = MultiplicativeConditioning(num_tasks=3)
    with pytest.raises(ValueError, match=r"`context` must be as wide.*Received: context of shape"):
        layer(draw(2, 4), draw(2, 2))
    with pytest.raises(ValueError, match=r"`context` must be ids from 0 to 2.*Received"):
        MultiplicativeConditioning(num_tasks=3)(draw(2, 4), np.array([0, 3]))
