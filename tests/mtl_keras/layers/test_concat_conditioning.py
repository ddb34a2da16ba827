"""ConcatConditioning is a dense layer of the features next to the context."""

import keras
import numpy as np
import pytest

from conformance.layer_case import arrays
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.concat_conditioning import ConcatConditioning


def draw(*shape):
    return np.random.default_rng(shape).standard_normal(shape).astype("float32")


def statement(weights, features, context):
    beside = np.broadcast_to(context[:, None], (*features.shape[:-1], context.shape[-1]))
    joined = np.concatenate([features, beside], -1)
    return np.tanh(joined @ weights["kernel"] + weights["bias"])


CASES = [
    LayerCase(
        layer_class=ConcatConditioning,
        config={"units": 3, "activation": "tanh"},
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
def test_ids_are_one_hot_rows_at_every_rank(shape):
    layer = ConcatConditioning(3, num_tasks=2, use_bias=False)
    features, ids = draw(*shape), np.array([1, 0, 1])
    one_hot = arrays(layer(features, np.eye(2, dtype="float32")[ids]))
    from_ids = arrays(layer(features, ids))
    np.testing.assert_array_equal(from_ids, one_hot)
    kernel = arrays(layer.kernel)
    shift = kernel[4:][ids].reshape(3, *[1] * (len(shape) - 2), 3)
    # Two roundings of float32 in another order.
    np.testing.assert_allclose(from_ids, features @ kernel[:4] + shift, rtol=1e-5, atol=1e-6)


def test_initializers_and_regularizers_reach_their_weights():
    layer = ConcatConditioning(
        3,
        kernel_initializer="ones",
        bias_initializer="ones",
        kernel_regularizer=keras.regularizers.L1(1.0),
        bias_regularizer=keras.regularizers.L1(100.0),
    )
    layer.build((None, 4), (None, 2))
    assert arrays(sum(layer.losses)) == 18 * 1 + 3 * 100


@pytest.mark.parametrize(("argument", "value"), [("units", 0), ("num_tasks", 0)])
def test_bad_arguments_are_refused(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be .*Received: {argument}={value}"):
        ConcatConditioning(**({"units": 3} | {argument: value}))


def test_a_bad_context_is_refused():
    layer = ConcatConditioning(3, num_tasks=3)
    with pytest.raises(ValueError, match=r"`context` must be as wide.*Received: context of shape"):
        layer(draw(2, 4), draw(2, 2))
    with pytest.raises(ValueError, match=r"`context` must be ids from 0 to 2.*Received"):
        ConcatConditioning(3, num_tasks=3)(draw(2, 4), np.array([0, 3]))
