"""Tests of uncertainty weighting."""

import numpy as np
import pytest
from keras import ops

from conformance.trained_rule import train
from mtl_keras.balancing import UncertaintyWeighting


def test_equals_equation_with_given_variances():
    rule = UncertaintyWeighting(["regression", "classification", "regression"])
    rule.build(3)
    s, losses = np.array([0.5, -1.0, 2.0]), np.array([2.0, 3.0, 0.0])
    rule.log_variances.assign(s)
    expected = 0.5 * np.exp(-0.5) * 2.0 + 0.25 + np.exp(1.0) * 3.0 - 0.5  # The third is absent.
    np.testing.assert_allclose(ops.convert_to_numpy(rule.total(losses)), expected, rtol=1e-6)
    weights = ops.convert_to_numpy(rule.weights(losses))
    np.testing.assert_allclose(weights, [0.5 * np.exp(-0.5), np.exp(1.0), 0.0], rtol=1e-6)


def test_training_brings_weights_to_half_the_inverse_losses():
    rule = train(UncertaintyWeighting(["regression", "classification"]), [4.0, 0.5])
    np.testing.assert_allclose(ops.convert_to_numpy(rule.weights([4.0, 0.5])), [0.125, 1.0], 1e-4)


def test_absent_task_keeps_its_variance():
    rule = train(UncertaintyWeighting(), [4.0, 0.0])
    variances = ops.convert_to_numpy(rule.log_variances)
    assert variances[1] == 0.0
    assert variances[0] > 1.0


def test_one_kind_is_for_all_tasks():
    weights = UncertaintyWeighting("classification").weights([1.0, 2.0])
    np.testing.assert_array_equal(ops.convert_to_numpy(weights), [1.0, 1.0])


@pytest.mark.parametrize("kinds", ["ranking", ["regression", 3], []])
def test_refuses_other_kinds(kinds):
    with pytest.raises(ValueError, match=r"`kinds` must be one of .* Received: kinds="):
        UncertaintyWeighting(kinds)


def test_refuses_another_number_of_kinds():
    with pytest.raises(ValueError, match=r"`kinds` must have one entry a task: 2"):
        UncertaintyWeighting(["regression"]).total([1.0, 2.0])
