"""AdditiveConditioning adds the projected context, and is ConcatConditioning written apart."""

import keras
import numpy as np
import pytest

from conformance.layer_case import arrays
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.additive_conditioning import AdditiveConditioning
from mtl_keras.layers.concat_conditioning import ConcatConditioning


def draw(*shape):
    return np.random.default_rng(shape).standard_normal(shape).astype("float32")


def statement(weights, features, context):
    shift = (context @ weights["context_kernel"])[:, None]
    return np.tanh(features @ weights["kernel"] + shift + weights["bias"])


CASES = [
    LayerCase(
        layer_class=AdditiveConditioning,
        # Kernels of one shape: a draw used twice would show.
        config={"units": 3, "activation": "tanh"},
        inputs=(draw(4, 3, 5), draw(4, 5)),
        masks=(np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], bool), None),
        expected=statement,
    )
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


@pytest.mark.parametrize("shape", [(3, 4), (3, 2, 4), (3, 2, 2, 4)])
def test_equals_concatenation_with_the_kernels_stacked(shape):
    additive = AdditiveConditioning(3, bias_initializer="normal")
    concat = ConcatConditioning(3)
    features, context = draw(*shape), draw(3, 2)
    output = arrays(additive(features, context))
    concat.build(shape, (3, 2))
    kernels = (additive.kernel, additive.context_kernel)
    concat.kernel.assign(np.concatenate([arrays(k) for k in kernels]))
    concat.bias.assign(arrays(additive.bias))
    # The same products; a backend may add them in another order.
    np.testing.assert_allclose(output, arrays(concat(features, context)), rtol=1e-6, atol=1e-6)


def test_ids_are_one_hot_rows():
    layer = AdditiveConditioning(3, num_tasks=2, use_bias=False)
    features, ids = draw(3, 4), np.array([1, 0, 1])
    one_hot = arrays(layer(features, np.eye(2, dtype="float32")[ids]))
    from_ids = arrays(layer(features, ids))
    np.testing.assert_array_equal(from_ids, one_hot)


def test_one_seeded_initializer_draws_both_kernels_apart():
    layer = AdditiveConditioning(3, kernel_initializer=keras.initializers.HeNormal(seed=1))
    layer.build((None, 4), (None, 4))
    kernels = [arrays(layer.kernel), arrays(layer.context_kernel)]
    assert all(np.unique(kernel).size == 12 for kernel in kernels)
    assert not np.allclose(*kernels)


def test_initializers_and_regularizers_reach_their_weights():
    layer = AdditiveConditioning(
        3,
        kernel_initializer="ones",
        bias_initializer="ones",
        kernel_regularizer=keras.regularizers.L1(1.0),
        context_regularizer=keras.regularizers.L1(10.0),
        bias_regularizer=keras.regularizers.L1(100.0),
    )
    layer.build((None, 4), (None, 2))
    assert arrays(sum(layer.losses)) == 12 * 1 + 6 * 10 + 3 * 100


@pytest.mark.parametrize(("argument", "value"), [("units", 0), ("num_tasks", 0)])
def test_bad_arguments_are_refused(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be .*Received: {argument}={value}"):
        AdditiveConditioning(**({"units": 3} | {argument: value}))


def test_a_bad_context_is_refused():
    layer = AdditiveConditioning(3, num_tasks=3)
    with pytest.raises(ValueError, match=r"`context` must be as wide.*Received: context of shape"):
        layer(draw(2, 4), draw(2, 2))
    with pytest.raises(ValueError, match=r"`context` must be ids from 0 to 2.*Received"):
        AdditiveConditioning(3, num_tasks=3)(draw(2, 4), np.array([0, 3]))
