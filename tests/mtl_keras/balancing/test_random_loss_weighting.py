"""Tests of random loss weighting."""

import numpy as np
import pytest

from conformance.compiled import compiled
from mtl_keras.balancing import RandomLossWeighting

DISTRIBUTIONS = ["normal", "uniform", "dirichlet", "one_hot"]


def _draws(distribution, losses, count):
    rule = RandomLossWeighting(distribution, seed=1)
    rule.build(len(losses))
    step = compiled(rule.weights)
    return np.stack([step(losses.astype("float32")) for _ in range(count)])


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_weights_of_a_draw_sum_to_the_number_of_tasks(distribution):
    drawn = _draws(distribution, np.ones(4), 200)
    np.testing.assert_allclose(drawn.sum(axis=1), 4.0, rtol=1e-5)
    assert (drawn >= 0).all()
    assert len(np.unique(drawn, axis=0)) == (4 if distribution == "one_hot" else 200)
    # The mean of 200 draws whose deviation is at most sqrt(3).
    np.testing.assert_allclose(drawn.mean(axis=0), 1.0, atol=4 * np.sqrt(3 / 200))


@pytest.mark.parametrize("distribution", ["normal", "uniform", "dirichlet"])
def test_present_tasks_divide_the_weight_of_an_absent_one(distribution):
    all_three = _draws(distribution, np.ones(3), 5)
    two = _draws(distribution, np.array([1.0, 0.0, 1.0]), 5)
    expected = all_three * np.array([1.0, 0.0, 1.0])
    expected *= 2 / expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(two, expected, rtol=1e-5)


def test_one_hot_never_takes_an_absent_task():
    drawn = _draws("one_hot", np.array([1.0, 0.0, 1.0]), 50)
    assert (drawn[:, 1] == 0).all()
    assert set(drawn[:, 0]) == {0.0, 2.0}


def test_normal_is_the_softmax_of_normal_numbers():
    """Logarithms of softmax shares, less those of the first task, are differences of N(0, 1)."""
    drawn = np.log(_draws("normal", np.ones(2), 400))
    difference = drawn[:, 1] - drawn[:, 0]
    assert abs(difference.mean()) < 4 * np.sqrt(2 / 400)
    assert abs(difference.var() - 2.0) < 4 * 2 * np.sqrt(2 / 400)


def test_dirichlet_is_flat_on_the_simplex():
    """The first of three flat shares has mean 1/3 and variance 1/18."""
    shares = _draws("dirichlet", np.ones(3), 400)[:, 0] / 3
    assert abs(shares.var() - 1 / 18) < 0.015


def test_same_seed_same_weights():
    np.testing.assert_array_equal(_draws("normal", np.ones(3), 4), _draws("normal", np.ones(3), 4))


@pytest.mark.parametrize(
    ("arguments", "name"), [({"distribution": "cauchy"}, "distribution"), ({"seed": 1.5}, "seed")]
)
def test_refuses_other_values(arguments, name):
    with pytest.raises(ValueError, match=f"`{name}` must be .* Received: {name}="):
        RandomLossWeighting(**arguments)
