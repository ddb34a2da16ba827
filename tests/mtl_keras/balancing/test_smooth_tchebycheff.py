"""Tests of the smooth Tchebycheff scalarisation."""

import numpy as np
import pytest
from keras import ops

from mtl_keras.balancing import SmoothTchebycheff


def _statement(losses, p, nadir, bounds, mu):
    """n mu log sum exp(p log((L - b) / (nadir - b)) / mu), p of mean 1."""
    p = len(p) * p / p.sum()
    return (
        len(p) * mu * np.log(np.sum(np.exp(p * np.log((losses - bounds) / (nadir - bounds)) / mu)))
    )


def _total(rule, losses):
    return float(ops.convert_to_numpy(rule.total(np.array(losses))))


@pytest.mark.parametrize("mu", [0.3, 1.0, 4.0])
def test_equals_equation(mu):
    losses, p = np.array([0.2, 3.0, 1.0]), np.array([1.0, 2.0, 0.5])
    nadir, bounds = np.array([2.0, 5.0, 1.5]), np.array([-1.0, 0.0, 0.5])
    rule = SmoothTchebycheff(mu, p, nadir, bounds)
    expected = _statement(losses, p, nadir, bounds, mu)
    np.testing.assert_allclose(_total(rule, losses), expected, rtol=1e-5)


def test_small_mu_comes_close_to_the_worst_task():
    rule = SmoothTchebycheff(mu=1e-3, nadir=[1.0, 100.0])
    weights = ops.convert_to_numpy(rule.weights([0.5, 80.0]))
    np.testing.assert_allclose(weights, [0.0, 2 / 80], atol=1e-7)


def test_warm_up_sums_logarithms_and_its_last_epoch_is_the_nadir():
    rule = SmoothTchebycheff(warmup_epochs=2)
    for losses in ([9.0, 9.0], [2.0, 30.0], [4.0, 50.0]):
        np.testing.assert_allclose(_total(rule, losses), np.log(losses).sum(), rtol=1e-6)
        if losses[0] != 2.0:
            rule.end_epoch()
    expected = _statement(np.ones(2), np.ones(2), np.array([3.0, 40.0]), np.zeros(2), 1.0)
    np.testing.assert_allclose(_total(rule, [1.0, 1.0]), expected, rtol=1e-5)
    rule.end_epoch()  # The nadir stays.
    np.testing.assert_allclose(_total(rule, [1.0, 1.0]), expected, rtol=1e-5)


def test_task_first_seen_after_the_warm_up_starts_at_its_nadir():
    rule = SmoothTchebycheff(warmup_epochs=1)
    rule.total([2.0, 0.0])
    rule.end_epoch()
    weights = ops.convert_to_numpy(rule.weights([2.0, 8.0]))
    np.testing.assert_allclose(weights, [1 / 2, 1 / 8], rtol=1e-5)  # Both at their nadir.
    weights = ops.convert_to_numpy(rule.weights([2.0, 4.0]))
    np.testing.assert_allclose(weights, [2 * 2 / 3 / 2, 2 * 1 / 3 / 4], rtol=1e-5)


def test_loss_at_its_bound_takes_no_part():
    rule = SmoothTchebycheff(lower_bounds=[1.0, 0.0])
    assert ops.convert_to_numpy(rule.weights([1.0, 2.0])).tolist() == [0.0, 0.5]


def test_refuses_a_nadir_under_a_bound():
    rule = SmoothTchebycheff(nadir=[1.0, 2.0], lower_bounds=[1.0, 0.0])
    with pytest.raises(ValueError, match=r"`nadir` must be above .* Received: nadir="):
        rule.build(2)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("mu", 0),
        ("preference", [-1.0]),
        ("nadir", "a"),
        ("lower_bounds", 1),
        ("warmup_epochs", 1.5),
    ],
)
def test_refuses_other_values(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}` must be .* Received: {argument}="):
        SmoothTchebycheff(**{argument: value})
