"""Sampling strategies against what their papers say, and against chance."""

import json

import keras
import numpy as np
import pytest
from scipy import stats

import mtl_keras as mtl
from mtl_keras.data import Annealed, Capped, RoundRobin, Temperature, UniMax, Weighted
from mtl_keras.data.draws import Draws
from mtl_keras.data.strategies import Strategy, get

SIZES = {"a": 120, "b": 5000, "c": 30, "d": 1000}
N = np.array(list(SIZES.values()), float)
NAMED = ("uniform", "round_robin", "proportional", "square_root", "temperature")
STRATEGIES = [
    *map(get, NAMED),
    Annealed(4, 100),
    Capped(1000, 2.0),
    UniMax(2000, max_epochs=2),
    Weighted({"d": 1, "c": 2, "b": 3, "a": 4}),
]


def drawn(strategy, batches, count, first=0, **options):
    return Draws(strategy, SIZES, count, seed=0, **options)(first + np.arange(batches))


def normalised(amounts):
    return np.asarray(amounts) / np.sum(amounts)


def unimax(sizes, budget, epochs):
    # The level to which all tasks are filled, found by halving.
    low, high = 0.0, float(budget)
    for _ in range(200):
        level = (low + high) / 2
        low, high = (
            (level, high) if np.minimum(level, epochs * sizes).sum() < budget else (low, level)
        )
    return normalised(np.minimum(level, epochs * sizes))


@pytest.mark.parametrize(
    "strategy, expected",
    [
        ("uniform", [0.25] * 4),
        ("round_robin", [0.25] * 4),
        ("proportional", normalised(N)),
        ("square_root", normalised(np.sqrt(N))),
        ("temperature", normalised(N**0.2)),
        (Temperature(3), normalised(N ** (1 / 3))),
        (Capped(1000), normalised([120, 1000, 30, 1000])),
        (Capped(1000, 2.0), normalised(np.sqrt([120, 1000, 30, 1000]))),
        (UniMax(2000, max_epochs=2), unimax(N, 2000, 2)),
        (UniMax(100), [0.25] * 4),
        (UniMax(10**6), normalised(N)),
        ({"d": 1, "c": 2, "b": 3, "a": 4}, [0.4, 0.3, 0.2, 0.1]),
    ],
)
def test_chances_are_those_of_the_paper(strategy, expected):
    np.testing.assert_allclose(get(strategy).probabilities(SIZES), expected, rtol=1e-12)


def test_annealed_goes_from_proportional_to_nearly_equal():
    strategy = Annealed(epochs=5, batches_per_epoch=10)
    for epoch in range(1, 6):
        exponent = 1 - 0.8 * (epoch - 1) / (5 - 1)
        for batch in (10 * epoch - 10, 10 * epoch - 1):
            np.testing.assert_allclose(
                strategy.probabilities(SIZES, batch), normalised(N**exponent), rtol=1e-12
            )
    np.testing.assert_allclose(strategy.probabilities(SIZES, 999), normalised(N**0.2), rtol=1e-12)


def test_annealed_over_one_epoch_is_proportional():
    np.testing.assert_allclose(Annealed(1, 10).probabilities(SIZES, 50), normalised(N), rtol=1e-12)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
@pytest.mark.parametrize("order", [(3, 1, 0, 2), (1, 0, 3, 2)])
def test_chances_follow_the_order_of_the_tasks(strategy, order):
    names = [list(SIZES)[i] for i in order]
    permuted = strategy.probabilities({name: SIZES[name] for name in names})
    np.testing.assert_allclose(permuted, strategy.probabilities(SIZES)[list(order)], rtol=1e-12)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_realised_proportions_are_the_chances(strategy):
    # All before the chances of `Annealed` change.
    counts = np.bincount(drawn(strategy, 100, 1000).ravel(), minlength=4)
    # One in a million by chance, and the seed is fixed.
    assert stats.chisquare(counts, 100_000 * strategy.probabilities(SIZES)).pvalue > 1e-6


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_batches_by_chance_vary_as_independent_draws_do(strategy):
    if isinstance(strategy, RoundRobin):
        pytest.skip("leaves nothing to chance")
    p = strategy.probabilities(SIZES, 10_000)[1]
    counts = (drawn(strategy, 2000, 50, first=10_000) == 1).sum(axis=1)
    # The variance of 2000 counts is known to 3 %, or 4 % where they are skewed.
    assert counts.var() == pytest.approx(50 * p * (1 - p), rel=0.2)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_stratified_batches_hold_the_expected_number(strategy):
    rounding = np.zeros(4)
    for batch, ids in enumerate(drawn(strategy, 1000, 33, stratified=True)):
        counts = np.bincount(ids, minlength=4)
        expected = 33 * strategy.probabilities(SIZES, batch)
        assert counts.sum() == 33
        assert (np.abs(counts - expected) < 1 + 1e-9).all()
        rounding += counts - expected
    # Rounding is fair: its standard error over 1000 batches is below 0.016.
    np.testing.assert_allclose(rounding / 1000, 0, atol=0.08)


def test_stratified_batches_are_in_no_order():
    ids = drawn(get("uniform"), 1, 400, stratified=True)[0]
    assert 0.6 < np.mean(np.diff(ids) != 0) < 0.9


def test_round_robin_takes_turns_over_batches():
    np.testing.assert_array_equal(drawn(RoundRobin(), 4, 3).ravel(), np.arange(12) % 4)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_saved_as_json_and_back(strategy):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(strategy), allow_nan=False))
    again = keras.saving.deserialize_keras_object(config)
    for batch in (0, 250):
        np.testing.assert_array_equal(
            again.probabilities(SIZES, batch), strategy.probabilities(SIZES, batch)
        )


def test_one_of_ones_own():
    class LargestOnly(Strategy):
        def phases(self, sizes):
            return {0: np.array([n == max(sizes.values()) for n in sizes.values()])}

    mixture = mtl.data.Mixture(SIZES, LargestOnly(), batch_size=10)
    assert mixture.counts(10) == {"a": 0, "b": 100, "c": 0, "d": 0}


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: get("square"), r"`strategy` must be one of .*Received: strategy='square'"),
        (lambda: get("annealed"), "mtl.data.Annealed"),
        (lambda: Temperature(0), "`temperature` must be .*Received: temperature=0"),
        (lambda: Annealed(0, 5), "`epochs` must be .*Received: epochs=0"),
        (lambda: Annealed(2, 0), "`batches_per_epoch` must be .*Received"),
        (lambda: Capped(0), "`limit` must be .*Received: limit=0"),
        (lambda: UniMax(0), "`budget` must be .*Received: budget=0"),
        (lambda: UniMax(5, 0), "`max_epochs` must be .*Received"),
        (lambda: Weighted({"a": 0}), r"weights\['a'\]` must be .*above 0"),
        (
            lambda: Weighted({"a": 1}).probabilities(SIZES),
            r"`strategy` must weigh .*Received: weights of \['a'\]",
        ),
    ],
)
def test_errors_name_the_argument(make, message):
    with pytest.raises(ValueError, match=message):
        make()
