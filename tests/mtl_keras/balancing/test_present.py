"""Shares of the tasks that are present."""

import warnings

import numpy as np
import pytest
from keras import ops

from mtl_keras.balancing import present


def shares(logits, there):
    tensor = ops.convert_to_tensor(np.array(logits, "float32"))
    return ops.convert_to_numpy(present.softmax(tensor, ops.convert_to_tensor(there)))


@pytest.mark.parametrize("there", [[True, True, True], [False, True, True], [False, True, False]])
def test_softmax_is_that_of_the_present(there):
    logits = np.array([3.0, -1.0, 0.5])
    powers = np.exp(logits) * there
    np.testing.assert_allclose(shares(logits, there), powers / powers.sum(), rtol=1e-6)


def test_softmax_of_large_logits_is_finite():
    assert shares([1e20, -1e20, 1e20], [True] * 3).tolist() == [0.5, 0.0, 0.5]


def test_softmax_of_nobody_is_zero():
    assert shares([1.0, 2.0], [False, False]).tolist() == [0.0, 0.0]


def test_softmax_of_one_task_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        assert shares([2.0], [True]).tolist() == [1.0]
