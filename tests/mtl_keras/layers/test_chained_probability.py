"""ChainedProbability: products of probabilities, also where they round to 0 or 1."""

import keras
import numpy as np
import pytest

from conformance.good_layers import draw
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers import ChainedProbability


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def statement(weights, logits):
    return sigmoid(logits[0]) * sigmoid(logits[1]) * sigmoid(logits[2])


CASE = LayerCase(
    layer_class=ChainedProbability,
    config={},
    inputs=(tuple(draw(4, 3) + shift for shift in range(3)),),
    expected=statement,
)


@pytest.mark.parametrize("check", LAYER_CHECKS)
def test_conformance(check):
    LAYER_CHECKS[check](CASE)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow alone reads it")
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_the_cross_entropy_is_exact_where_probabilities_saturate(label):
    # Logits so large that float32 probabilities are 0 or 1, against float64.
    pairs = [(-60.0, -50.0), (60.0, 50.0), (-60.0, 50.0), (40.0, -3.0), (1.0, 2.0)]
    first, second = np.array(pairs).T[:, :, None]
    product = ChainedProbability()((first.astype("float32"), second.astype("float32")))
    got = keras.ops.binary_crossentropy(np.full_like(first, label, "float32"), product)
    failed = np.log1p(np.exp(-first)) + np.log1p(np.exp(-second))
    # 1 - p from p where p is small, else from the odds against p, e^-a + e^-b + e^(-a-b).
    odds = np.logaddexp(np.logaddexp(-first, -second), -first - second)
    small = np.minimum(np.exp(-failed), 0.5)
    passed = np.where(odds > 0, -np.log1p(-small), failed - odds)
    # 1e-30: what float32 cannot hold.
    np.testing.assert_allclose(got, failed if label else passed, rtol=1e-5, atol=1e-30)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"`logits` must be a tuple.*Received: logits of shape"):
        ChainedProbability()(draw(4, 3))
    with pytest.raises(ValueError, match=r"`logits` must be a tuple.*Received"):
        ChainedProbability()((draw(4, 3), draw(4, 2)))
