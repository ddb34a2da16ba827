"""Scalar products of rows."""

import keras
import numpy as np
import pytest
from keras import ops

from mtl_keras.gradients.autodiff import row_products


@pytest.mark.parametrize("rows", [1, 2, 11, 12, 40])
def test_products_are_those_of_numpy(rows):
    rng = np.random.default_rng(rows)
    first, second = rng.normal(size=(2, rows, 1000)).astype("float32")
    found = row_products(ops.convert_to_tensor(first), ops.convert_to_tensor(second))
    assert tuple(found.shape) == (rows, rows)
    exact = first.astype("float64") @ second.astype("float64").T
    np.testing.assert_allclose(ops.convert_to_numpy(found), exact, atol=2e-4)


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="shapes that a graph leaves open"
)
def test_the_number_of_rows_need_not_be_known():
    import tensorflow as tf

    products = tf.function(row_products, input_signature=[tf.TensorSpec([None, None])] * 2)
    rows = np.arange(60, dtype="float32").reshape(20, 3)
    np.testing.assert_array_equal(products(rows, rows), rows @ rows.T)
