"""Tests of static weights."""

import numpy as np
import pytest
from keras import ops

from mtl_keras.balancing import StaticWeights


def test_is_the_weighted_sum_also_with_an_absent_task():
    rule = StaticWeights([0.5, 2.0, 0.0])
    assert float(ops.convert_to_numpy(rule.total([1.0, 3.0, 7.0]))) == 6.5
    assert ops.convert_to_numpy(rule.weights([1.0, 0.0, 7.0])).tolist() == [0.5, 0.0, 0.0]


def test_accepts_arrays_and_keeps_plain_numbers():
    assert StaticWeights(np.array([1, 2])).get_config() == {"weights": [1.0, 2.0]}


@pytest.mark.parametrize("weights", [[-1.0, 2.0], [0.0, 0.0], [float("nan")], "ab", 3.0, []])
def test_refuses_what_is_no_weight(weights):
    with pytest.raises(ValueError, match=r"`weights` must be .* Received: weights="):
        StaticWeights(weights)


def test_refuses_another_number_of_weights():
    with pytest.raises(ValueError, match="`weights` must have one entry a task: 3"):
        StaticWeights([1.0, 2.0]).weights(np.ones(3))
