"""ContinuousFilterConvolution: sums over the other points, in whatever order they come."""

import keras
import numpy as np
import pytest

from conformance.layer_case import arrays
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers import ContinuousFilterConvolution, RadialBasis

RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, 5, 4)).astype("float32")
BASIS = RNG.normal(size=(3, 5, 6, 5)).astype("float32")
MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], bool)


def statement(weights, x, basis):
    filters = np.einsum("bikj,kf->bijf", basis, weights["kernel"])
    return np.einsum("bjf,bijf->bif", x, filters)


CASE = LayerCase(
    layer_class=ContinuousFilterConvolution,
    config={},
    inputs=(X, BASIS),
    masks=(MASK, None),
    expected=statement,
)


@pytest.mark.parametrize("check", LAYER_CHECKS)
def test_conformance(check):
    LAYER_CHECKS[check](CASE)


def test_another_order_of_points_reorders_the_output():
    layer, order = CASE.called_layer(), RNG.permutation(5)
    shuffled = layer(X[:, order], BASIS[:, order][..., order])
    np.testing.assert_allclose(arrays(shuffled), arrays(layer(X, BASIS))[:, order], atol=1e-5)


def test_masked_points_are_as_good_as_absent():
    layer = CASE.called_layer()
    x = np.where(MASK[..., None], X, np.nan).astype("float32")
    whole = arrays(layer(x, BASIS, features_mask=keras.ops.convert_to_tensor(MASK)))
    for row, count in enumerate(MASK.sum(axis=1)):
        alone = layer(X[row : row + 1, :count], BASIS[row : row + 1, :count, :, :count])
        np.testing.assert_allclose(whole[row, :count], arrays(alone)[0], atol=1e-5)


def test_a_point_alone_hears_nothing():
    basis = RadialBasis(6)(np.zeros((1, 1, 3), "float32"))
    assert not arrays(ContinuousFilterConvolution()(X[:1, :1], basis)).any()
