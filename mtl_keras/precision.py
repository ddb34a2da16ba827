"""The widest type that a backend has, for what float32 is too narrow for."""

from typing import Any

import keras
import numpy as np
from keras import ops


def wide(tensor: Any) -> Any:
    """The tensor in float64 where the backend has it (JAX: with x64 enabled), else as it is."""
    widest = ops.convert_to_tensor(np.zeros((), "float64")).dtype
    return ops.cast(tensor, keras.backend.standardize_dtype(widest))
