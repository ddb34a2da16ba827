"""Every example meets the mixture of kernels that its shares say, whatever the shapes."""

import keras
import numpy as np
import pytest

from mtl_keras.layers.mixed_dense import mixed_dense


def draw(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("float32")


# Wide to narrow and narrow to wide go different ways for vectors.
@pytest.mark.parametrize("units", [2, 7])
@pytest.mark.parametrize("positions", [(), (3,), (3, 2)], ids=["vector", "sequence", "image"])
@pytest.mark.parametrize("use_bias", [True, False])
def test_each_example_has_its_own_mixture(positions, units, use_bias):
    features, shares = draw(6, *positions, 5), draw(6, 4)
    kernels, biases = draw(4, 5, units), draw(4, units) if use_bias else None
    want = []
    for row, share in zip(features, shares, strict=True):
        row = row @ sum(s * kernel for s, kernel in zip(share, kernels, strict=True))
        want.append(row + share @ biases if use_bias else row)
    found = mixed_dense(*map(keras.ops.convert_to_tensor, (features, kernels)), biases, shares)
    # Sums of 20 products in another order.
    np.testing.assert_allclose(keras.ops.convert_to_numpy(found), want, rtol=1e-5, atol=1e-5)
