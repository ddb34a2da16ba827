"""Draws by number."""

import numpy as np
import pytest
from scipy import stats

from mtl_keras.data import Annealed, RoundRobin, Strategy, Temperature, Weighted
from mtl_keras.data.draws import Draws

SIZES = {"a": 700, "b": 250, "c": 50}
BATCHES = np.array([0, 1, 2, 39, 40, 41, 1000, 2**40])


def split_mix(state, count):
    """SplitMix64 as Steele et al. 2014 state it, one number after the other."""
    numbers = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        numbers.append(z ^ (z >> 31))
    return numbers


def test_the_statement_of_the_generator_gives_the_known_numbers():
    # Those that Rosetta Code lists for this seed.
    assert split_mix(1234567, 3) == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@pytest.mark.parametrize("seed", [0, 7, 2**63 + 5])
def test_draws_are_those_of_the_generator(seed):
    golden = 0x9E3779B97F4A7C15
    # What the generator makes of the seed itself is the key of its stream of keys.
    (key,) = split_mix((seed - golden) % 2**64, 1)
    found = Draws(Weighted({"a": 1, "b": 1, "c": 2}), SIZES, 6, seed)(BATCHES)
    for batch, ids in zip(BATCHES.tolist(), found, strict=True):
        (of_batch,) = split_mix((key + (batch - 1) * golden) % 2**64, 1)
        points = np.array([number >> 11 for number in split_mix(of_batch, 6)]) / 2**53
        np.testing.assert_array_equal(ids, np.searchsorted([0.25, 0.5], points, side="right"))


STRATEGIES = [Temperature(1.0), Annealed(4, 40), RoundRobin()]


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_tensorflow_draws_the_same(strategy, stratified):
    tf = pytest.importorskip("tensorflow")
    draws = Draws(strategy, SIZES, 32, seed=3, stratified=stratified)
    found = tf.function(lambda numbers: draws(numbers, tf.experimental.numpy))(tf.constant(BATCHES))
    expected = draws(BATCHES)
    np.testing.assert_array_equal(found, expected)
    assert expected.dtype == np.int64 and found.dtype == tf.int64


@pytest.mark.parametrize("strategy", STRATEGIES, ids=repr)
def test_a_batch_does_not_depend_on_what_is_drawn_with_it(strategy):
    draws = Draws(strategy, SIZES, 8, seed=3, stratified=True)
    alone = [draws(np.array([batch]))[0] for batch in BATCHES]
    np.testing.assert_array_equal(draws(BATCHES), alone)


def test_chances_change_at_the_first_batch_of_a_phase():
    class Switch(Strategy):
        def phases(self, sizes):
            return {0: np.array([1.0, 0, 0]), 40: np.array([0, 0, 1.0]), 10: np.array([0, 1.0, 0])}

    found = Draws(Switch(), SIZES, 2, seed=0)(np.array([0, 9, 10, 39, 40, 99]))
    np.testing.assert_array_equal(found, np.repeat([0, 0, 1, 1, 2, 2], 2).reshape(6, 2))
    assert Switch().probabilities(SIZES, 39).tolist() == [0, 1, 0]


def test_neither_seeds_nor_batches_nor_places_go_together():
    draws = np.stack([Draws(Temperature(1), SIZES, 64, seed)(np.arange(64)) for seed in range(64)])
    for axis in range(3):
        first, then = np.take(draws, range(63), axis).ravel(), np.take(draws, range(1, 64), axis)
        table = np.histogram2d(first, then.ravel(), bins=3)[0]
        # One in a million by chance, and the seeds are fixed.
        assert stats.chi2_contingency(table).pvalue > 1e-6


@pytest.mark.parametrize(
    "phases, message",
    [
        ({}, r"must say what holds from batch 0 on. Received: phases of batches \[\]"),
        ({5: [0.5, 0.3, 0.2]}, r"from batch 0 on. Received: phases of batches \[5\]"),
        ({0: [0.5, 0.5]}, "must be chances of 3 tasks, of sum 1. Received"),
        ({0: [0.5, 0.3, 0.3]}, "must be chances of 3 tasks, of sum 1. Received"),
        ({0: [1.5, -0.5, 0]}, "must be chances of 3 tasks"),
        ({0: [np.nan, 0, 1]}, "must be chances of 3 tasks"),
        ({0: [1, 0, 0], 9: [0, 0, 0]}, "Received: .* for batch 9"),
    ],
)
def test_what_is_no_chance_is_refused(phases, message):
    class Own(Strategy):
        def phases(self, sizes):
            return phases

    with pytest.raises(ValueError, match=message):
        Draws(Own(), SIZES, 4, seed=0)


def test_a_strategy_needs_phases():
    with pytest.raises(NotImplementedError, match="Old must have `phases`"):
        Draws(type("Old", (Strategy,), {})(), SIZES, 4, seed=0)
