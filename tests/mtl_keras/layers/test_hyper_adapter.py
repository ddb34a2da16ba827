"""HyperAdapter: a bottleneck whose weights are affine in an embedding of the context."""

import keras
import numpy as np
import pytest

from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.hyper_adapter import HyperAdapter
from mtl_keras.layers.task_adapter import TaskAdapter

IDS = np.array([0, 2, 1, 2], "int32")


def draw(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def projection(weights, context):
    hidden = np.maximum(
        context @ weights["projection/hidden_0/kernel"] + weights["projection/hidden_0/bias"], 0
    )
    return hidden @ weights["projection/out/kernel"] + weights["projection/out/bias"]


def adapter(weights, h, embedding):
    """The adapter of one embedding."""
    down, a, up, c = (
        weights[name][0] + np.tensordot(embedding, weights[name][1:], 1)
        for name in ("down_kernel", "down_bias", "up_kernel", "up_bias")
    )
    return h + np.tanh(h @ down + a) @ up + c


def statement(weights, features, context):
    embeddings = projection(weights, context)
    return np.stack([adapter(weights, *row) for row in zip(features, embeddings, strict=True)])


CASES = [
    LayerCase(
        layer_class=HyperAdapter,
        config={
            "bottleneck": 2,
            "embedding_units": 3,
            "hidden_units": (4,),
            "activation": "tanh",
        },
        inputs=(draw(4, 2, 5), draw(4, 6)),
        masks=(np.array([[1, 1], [1, 0], [0, 1], [1, 1]], bool), None),
        expected=statement,
    )
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


def arrays(*tensors):
    return [keras.ops.convert_to_numpy(tensor) for tensor in tensors]


@pytest.mark.parametrize("shape", [(4, 5), (4, 2, 5), (4, 2, 3, 5)])
def test_starts_as_the_identity_for_every_context(shape):
    layer = HyperAdapter(2, embedding_units=3)
    for context in (draw(4, 6), 100 * draw(4, 6)):
        np.testing.assert_array_equal(*arrays(layer(draw(*shape), context), draw(*shape)))


def test_starts_as_the_layer_that_it_is_put_on():
    dense = keras.layers.Dense(6)
    layer = HyperAdapter(2, num_tasks=3, layer=dense)
    np.testing.assert_array_equal(*arrays(layer(draw(4, 5), IDS), dense(draw(4, 5))))


@pytest.mark.parametrize("shape", [(4, 5), (4, 2, 5), (4, 2, 3, 5)])
@pytest.mark.parametrize("use_bias", [True, False])
def test_contains_an_adapter_of_its_own_for_each_task(shape, use_bias):
    own = TaskAdapter(3, 2, use_bias=use_bias)
    hyper = HyperAdapter(2, num_tasks=3, embedding_units=3, use_bias=use_bias)
    for layer in (own, hyper):
        layer(draw(*shape), IDS)
    rng = np.random.default_rng(1)
    own.set_weights([rng.normal(0, 0.3, w.shape) for w in own.get_weights()])
    hyper.projection.out.set_weights([np.eye(3), np.zeros(3)])
    for weight in own.weights:
        nothing_shared = np.zeros((1, *weight.shape[1:]))
        stack = np.concatenate([nothing_shared, weight.numpy()])
        getattr(hyper, weight.name).assign(stack)
    found, want = arrays(*(layer(draw(*shape), IDS) for layer in (hyper, own)))
    # A sum of four terms, three of them zero.
    np.testing.assert_allclose(found, want, rtol=1e-6, atol=1e-6)


def test_ids_and_one_hot_rows_agree():
    layer = HyperAdapter(2, num_tasks=3)
    layer(draw(4, 5), IDS)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(0, 0.3, w.shape) for w in layer.get_weights()])
    by_id, by_row = arrays(
        *(layer(draw(4, 5), context) for context in (IDS, np.eye(3, dtype="float32")[IDS]))
    )
    np.testing.assert_array_equal(by_id, by_row)
    assert not np.allclose(by_id, draw(4, 5))


def test_a_description_that_was_never_seen_gets_an_adapter():
    layer = HyperAdapter(2, embedding_units=2, use_bias=False)
    layer(draw(1, 5), np.zeros((1, 2), "float32"))
    layer.projection.out.set_weights([np.eye(2), np.zeros(2)])
    rng = np.random.default_rng(1)
    layer.up_kernel.assign(rng.normal(0, 1, layer.up_kernel.shape))
    low, middle, high = arrays(
        *(layer(draw(1, 5), np.array([[0, v]], "float32")) for v in (0.0, 0.5, 1.0))
    )
    # Only V moves with the embedding here, and the output is affine in V.
    np.testing.assert_allclose(middle, (low + high) / 2, rtol=1e-5, atol=1e-6)
    assert not np.allclose(low, high)


def test_the_first_kernel_does_not_equal_one_of_the_projection():
    initializer = keras.initializers.RandomNormal(seed=0)
    layer = HyperAdapter(3, None, 3, hidden_units=(3,), kernel_initializer=initializer)
    layer.build((None, 5), (None, 5))
    first = layer.down_kernel.numpy()[0]
    hidden = layer.projection.hidden[0].kernel.numpy()
    assert first.shape == hidden.shape
    assert not np.allclose(first, hidden)


def test_a_regularizer_reaches_every_kernel():
    layer = HyperAdapter(2, 3, hidden_units=(4,), kernel_regularizer="l2")
    layer.build((None, 5), (None,))
    kernels = [w.path for w in layer.weights if "kernel" in w.name]
    assert [w.path for w in layer.weights if w.regularizer] == kernels
    assert len(kernels) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"bottleneck": 0}, "`bottleneck` must be .* Received: bottleneck=0"),
        ({"num_tasks": 0}, "`num_tasks` must be .* Received: num_tasks=0"),
        ({"embedding_units": 0}, "`embedding_units` must be .* Received: embedding_units=0"),
        ({"hidden_units": (0,)}, "`hidden_units` must be .* Received: hidden_units=0"),
        ({"layer": 3}, "`layer` must be .* Received: layer=3"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        HyperAdapter(**({"bottleneck": 2} | arguments))


def test_a_context_of_another_width_or_task_is_refused():
    for tasks, context, message in [
        (3, np.ones((4, 2), "float32"), "as wide"),
        (3, np.full(4, 3, "int32"), "ids"),
        (None, IDS, "`num_tasks` must be given"),
    ]:
        with pytest.raises(ValueError, match=f"{message}.*Received"):
            HyperAdapter(2, tasks)(draw(4, 5), context)
