"""float64 where the backend has it."""

import keras
from keras import ops

from mtl_keras.precision import wide


def test_float64_where_there_is_float64():
    expected = "float32" if keras.backend.backend() == "jax" else "float64"
    assert keras.backend.standardize_dtype(wide(ops.zeros((2,), "float32")).dtype) == expected
