"""Tests of the hard maximum."""

import numpy as np
import pytest
from keras import ops

from mtl_keras.balancing import HardMax


def _weights(rule, losses):
    return ops.convert_to_numpy(rule.weights(np.array(losses))).tolist()


def test_trains_the_worst_task_alone():
    assert _weights(HardMax(), [1.0, 5.0, 3.0]) == [0.0, 1.0, 0.0]
    assert float(ops.convert_to_numpy(HardMax().total([1.0, 5.0, 3.0]))) == 5.0


def test_tasks_that_tie_share_the_weight():
    assert _weights(HardMax(), [5.0, 1.0, 5.0]) == [0.5, 0.0, 0.5]


def test_preference_scales_the_comparison_and_the_weight():
    rule = HardMax([4.0, 1.0])
    assert _weights(rule, [1.0, 3.0]) == [4.0, 0.0]
    assert float(ops.convert_to_numpy(rule.total([1.0, 3.0]))) == 4.0


def test_absent_task_is_not_the_worst_of_negative_losses():
    assert _weights(HardMax(), [-3.0, 0.0, -1.0]) == [0.0, 0.0, 1.0]


def test_refuses_a_negative_preference():
    with pytest.raises(ValueError, match=r"`preference` must be at least 0.* Received"):
        HardMax([1.0, -1.0])
