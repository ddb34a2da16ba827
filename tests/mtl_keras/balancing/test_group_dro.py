"""Tests of group DRO."""

import numpy as np
import pytest
from keras import ops

from mtl_keras.balancing import GroupDRO


def test_equals_exponentiated_gradient_ascent():
    steps = np.random.default_rng(0).uniform(-1, 4, (20, 4))
    rule, q = GroupDRO(eta=0.3), np.full(4, 0.25)
    for losses in steps:
        q = q * np.exp(0.3 * losses)
        q = q / q.sum()
        np.testing.assert_allclose(ops.convert_to_numpy(rule.weights(losses)), q, rtol=1e-4)


def test_a_task_that_was_absent_has_its_share_again():
    rule = GroupDRO(eta=1.0)
    rule.weights([1.0, 2.0, 0.0])
    q = np.exp([1.0 + 1.0, 2.0 + 1.0, 0.0 + 1.0])
    actual = ops.convert_to_numpy(rule.weights([1.0, 1.0, 1.0]))
    np.testing.assert_allclose(actual, q / q.sum(), rtol=1e-5)


def test_weights_stay_exact_after_large_losses():
    rule = GroupDRO(eta=1.0)
    for _ in range(100):
        rule.weights([1e8, 1e8])
    shares = ops.convert_to_numpy(rule.weights([1.0, 2.0]))
    np.testing.assert_allclose(shares, [0.2689414, 0.7310586], rtol=1e-5)


@pytest.mark.parametrize("eta", [0, -1.0, float("inf"), "a"])
def test_refuses_another_step(eta):
    with pytest.raises(ValueError, match=r"`eta` must be a finite number above 0. Received: eta="):
        GroupDRO(eta)
