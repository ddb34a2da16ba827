"""GradientReversal is the identity with the opposite gradient."""

import keras
import numpy as np
import pytest

from conformance.gradient_of import gradient_of
from conformance.layer_case import arrays
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.gradient_reversal import GradientReversal


def draw(*shape):
    return np.random.default_rng(0).normal(size=shape).astype("float32")


CASES = [
    LayerCase(
        layer_class=GradientReversal,
        config={"scale": 0.3},
        inputs=(draw(4, 3, 5),),
        masks=(np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0], [1, 1, 0]], bool),),
        expected=lambda weights, x: x,
        rtol=0,
        atol=0,
        exempt={"numerical_gradients": "the gradient is not that of the output"},
    )
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


@pytest.mark.parametrize("scale", [0, 0.3, 1, 7])
def test_the_gradient_is_reversed_and_scaled(scale):
    x = draw(2, 3)
    layer = GradientReversal(scale)
    gradient = gradient_of(lambda x: keras.ops.sum(keras.ops.square(layer(x))), x)
    np.testing.assert_allclose(arrays(gradient), -scale * 2 * x, rtol=1e-6)
    np.testing.assert_array_equal(arrays(layer(x)), x)


@pytest.mark.parametrize("scale", [-1, None, "much", float("nan")])
def test_other_scales_are_refused(scale):
    with pytest.raises(ValueError, match=r"`scale` must be .*Received: scale="):
        GradientReversal(scale)
