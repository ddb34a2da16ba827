"""Tests of COSMOS."""

import numpy as np
import pytest
from keras import ops

from mtl_keras.balancing import COSMOS


def _statement(losses, preference, penalty):
    p = preference / preference.sum()
    cosine = losses @ p / np.linalg.norm(losses) / np.linalg.norm(p)
    return p @ losses - penalty * cosine


@pytest.mark.parametrize("losses", [[0.5, 3.0, 2.0], [-1.0, 2.0, 0.1]])
def test_equals_equation(losses):
    losses, p = np.array(losses), np.array([0.5, 1.0, 2.0])
    total = ops.convert_to_numpy(COSMOS(p, penalty=3.0).total(losses))
    np.testing.assert_allclose(total, _statement(losses, p, 3.0), rtol=1e-5)


def test_losses_along_the_preference_are_only_summed():
    p = np.array([0.25, 0.75])
    weights = ops.convert_to_numpy(COSMOS(p).weights(4 * p))
    np.testing.assert_allclose(weights, p, atol=1e-6)


def test_one_task_is_its_loss_less_the_penalty():
    assert float(ops.convert_to_numpy(COSMOS().total([5.0]))) == 3.0
    assert ops.convert_to_numpy(COSMOS().weights([5.0])).tolist() == [1.0]


@pytest.mark.parametrize(("argument", "value"), [("penalty", -1), ("preference", [0.0, 0.0])])
def test_refuses_other_values(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be .* Received: {argument}="):
        COSMOS(**{argument: value})
