"""ConstantContext gives every row one vector."""

import numpy as np
import pytest

from conformance.layer_case import arrays
from conformance.layer_suite import LAYER_CHECKS, LayerCase
from mtl_keras.layers.constant_context import ConstantContext

VALUES = (0.5, 0.0, -2.0)
CASES = [
    LayerCase(
        layer_class=ConstantContext,
        config={"values": VALUES},
        inputs=(np.ones((4, 5), "float32"),),
        expected=lambda weights, x: np.tile(VALUES, (len(x), 1)),
        exempt={"gradients": "nothing reaches the output"},
    )
]


@pytest.mark.parametrize("check", LAYER_CHECKS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_conformance(case, check):
    LAYER_CHECKS[check](case)


@pytest.mark.parametrize("x", [np.zeros(3, int), np.full((3, 2, 0), np.nan)], ids=["ids", "empty"])
def test_only_the_number_of_rows_is_read(x):
    np.testing.assert_array_equal(arrays(ConstantContext((1, 0))(x)), [[1, 0]] * 3)


@pytest.mark.parametrize("values", [None, (), ("a",), (float("nan"),), 3], ids=repr)
def test_other_values_are_refused(values):
    with pytest.raises(ValueError, match=r"`values` must be .*Received: values="):
        ConstantContext(values)
