"""Tests of dynamic weight average."""

import numpy as np
import pytest
from keras import ops

from mtl_keras.balancing import DynamicWeightAverage


def _weights(rule, losses):
    return ops.convert_to_numpy(rule.weights(np.array(losses)))


def test_equals_equation_on_means_of_epochs():
    epochs = np.random.default_rng(0).uniform(0.1, 3, (5, 4, 3))
    means, rule = epochs.mean(axis=1), DynamicWeightAverage(temperature=1.5)
    for epoch, steps in enumerate(epochs):
        expected = np.ones(3)
        if epoch >= 2:
            shares = np.exp(means[epoch - 1] / means[epoch - 2] / 1.5)
            expected = 3 * shares / shares.sum()
        for losses in steps:
            np.testing.assert_allclose(_weights(rule, losses), expected, rtol=1e-5)
        rule.end_epoch()


def test_epoch_without_a_task_keeps_its_means_and_counts_none():
    rule = DynamicWeightAverage(temperature=1.0)
    for losses in ([1.0, 4.0], [2.0, 0.0], [2.0, 2.0]):
        rule.total(losses)
        rule.end_epoch()
    shares = np.exp([2.0 / 2.0, 2.0 / 4.0])
    np.testing.assert_allclose(_weights(rule, [1.0, 1.0]), 2 * shares / shares.sum(), rtol=1e-5)


def test_task_with_one_epoch_has_ratio_one():
    rule = DynamicWeightAverage(temperature=1.0)
    for losses in ([1.0, 0.0], [3.0, 5.0]):
        rule.total(losses)
        rule.end_epoch()
    shares = np.exp([3.0, 1.0])
    np.testing.assert_allclose(_weights(rule, [1.0, 1.0]), 2 * shares / shares.sum(), rtol=1e-5)


def test_refuses_another_temperature():
    with pytest.raises(ValueError, match=r"`temperature` must be .* Received: temperature=-1"):
        DynamicWeightAverage(-1)
