"""MaskedConv1D reads padding as zeros, and only what came before where it is causal."""

import keras
import numpy as np
import pytest

from conformance.layer_case import arrays
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.masked_conv1d import MaskedConv1D


def draw(*shape):
    return np.random.default_rng(shape).standard_normal(shape).astype("float32")


def statement(weights, x, before=1, after=1):
    padded = np.pad(x, ((0, 0), (before, after), (0, 0)))
    taps = [padded[:, i : i + x.shape[1]] @ tap for i, tap in enumerate(weights["kernel"])]
    return sum(taps) + weights["bias"]


MASKS = (np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 0, 0]], bool),)
CASES = [
    LayerCase(
        layer_class=MaskedConv1D,
        config={"filters": 3, "kernel_size": 3},
        inputs=(draw(4, 4, 2),),
        masks=MASKS,
        expected=statement,
        name="same",
    ),
    LayerCase(
        layer_class=MaskedConv1D,
        config={"filters": 3, "kernel_size": 2, "padding": "causal"},
        inputs=(draw(4, 4, 2),),
        masks=MASKS,
        expected=lambda weights, x: statement(weights, x, 1, 0),
        name="causal",
    ),
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


def test_padding_is_as_good_as_absent():
    layer, x = MaskedConv1D(3, 3), draw(2, 3, 4)
    short = arrays(layer(x))
    longer = np.concatenate([x, 100 * draw(2, 2, 4)], axis=1)
    mask = keras.ops.convert_to_tensor([[True] * 3 + [False] * 2] * 2)
    np.testing.assert_allclose(arrays(layer(longer, mask=mask))[:, :3], short, rtol=1e-6)


@pytest.mark.parametrize(("argument", "value"), [("padding", "valid"), ("strides", 2)])
def test_bad_arguments_are_refused(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be .*Received: {argument}="):
        MaskedConv1D(3, 2, **{argument: value})
