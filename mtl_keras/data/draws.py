"""Draws: whose each example of a stream is, as a function of the batch's number alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mtl_keras.data.strategies import Strategy


class Draws:
    """The draws of any batches at once, in NumPy and, the very same, inside a TensorFlow graph.

    Chance is SplitMix64 (Steele, Lea & Flood 2014, "Fast Splittable Pseudorandom Number
    Generators", with the constants of Java's SplittableRandom) by number: no state goes from
    batch to batch, and a stream needs no Python while it is read.

    Args:
        strategy: which tasks are how likely.
        sizes: examples of each task.
        count: draws in a batch.
        seed: of all draws, 0 or more.
        stratified: whether each task gets its expected number of draws in a batch, rounded up
            or down by chance, in place of independent draws.

    Attributes:
        count: draws in a batch.

    Raises:
        ValueError: for phases that do not begin with batch 0, or are not chances of all tasks.

    Example:

    >>> import tensorflow as tf
    >>> from mtl_keras.data.strategies import Temperature
    >>> draws = Draws(Temperature(1.0), {"a": 600, "b": 400}, count=4, seed=3)
    >>> draws(np.array([0, 7])).tolist()
    [[0, 1, 0, 0], [1, 0, 0, 1]]
    >>> draws(tf.constant([0, 7]), tf.experimental.numpy).numpy().tolist()
    [[0, 1, 0, 0], [1, 0, 0, 1]]
    """

    def __init__(
        self,
        strategy: Strategy,
        sizes: Mapping[str, int],
        count: int,
        seed: int,
        stratified: bool = False,
    ):
        phases = _checked(strategy.phases(sizes), strategy, len(sizes))
        self._begins = np.array(sorted(phases), np.int64)
        # Without the last end, which rounding may leave below 1.
        self._ends = np.stack([np.cumsum(phases[begin])[:-1] for begin in sorted(phases)])
        self._in_turn, self._stratified = strategy.in_turn, bool(stratified)
        self.count, self._num_tasks = count, len(sizes)
        self._key = _mixed(np.array([seed % 2**64], np.uint64))

    def __call__(self, batches: Any, xp: Any = np) -> Any:
        """Task ids, int64 (batches, count).

        Args:
            batches: numbers of batches, integers (batches,).
            xp: whose arrays these are: `numpy` or `tf.experimental.numpy`.
        """
        batches = xp.reshape(xp.asarray(batches, np.int64), (-1, 1))
        phase = xp.sum(xp.asarray(batches >= self._begins, np.int64), axis=1) - 1
        ends = xp.take(xp.asarray(self._ends), phase, axis=0)
        points = self._points(batches, xp)
        past = points[:, :, None] >= ends[:, None, :]
        ids = xp.sum(xp.asarray(past, np.int64), axis=2)
        if not self._stratified or self._in_turn:
            return ids
        order = xp.argsort(self._uniform(batches, 1, self.count, xp), axis=1, kind="stable")
        return xp.take_along_axis(ids, order, axis=1)

    def _points(self, batches, xp):
        # Places from 0 to 1, of which each task has as long a piece as it is likely.
        numbers = xp.asarray(np.arange(self.count))
        if self._in_turn:
            turn = (batches * self.count + numbers) % self._num_tasks
            return (xp.asarray(turn, np.float64) + 0.5) / self._num_tasks
        if not self._stratified:
            return self._uniform(batches, 0, self.count, xp)
        # One offset for all: systematic sampling.
        offset = self._uniform(batches, 0, 1, xp)
        return (xp.asarray(numbers, np.float64) + offset) / float(self.count)

    def _uniform(self, batches, start, count, xp):
        # Numbers `start` and on of each batch, from 0 to 1.
        keys = _mixed(self._key + xp.asarray(batches, np.uint64) * _GOLDEN)
        numbers = np.arange(start + 1, start + count + 1).astype(np.uint64)
        # As many bits as float64 has.
        bits = _mixed(keys + numbers * _GOLDEN) // np.uint64(2**11)
        return xp.asarray(bits, np.float64) * 2.0**-53


def _checked(phases, strategy, num_tasks):
    """The phases; a strategy may be anyone's."""
    if not phases or min(phases) != 0:
        raise ValueError(
            f"`phases` of {strategy} must say what holds from batch 0 on. "
            f"Received: phases of batches {sorted(phases)}"
        )
    for begin, chances in phases.items():
        chances = np.asarray(chances, float)
        likely = chances.shape == (num_tasks,) and (chances >= 0).all()
        if not (likely and abs(chances.sum() - 1) < 1e-6):
            raise ValueError(
                f"`phases` of {strategy} must be chances of {num_tasks} tasks, of sum 1. "
                f"Received: {chances} for batch {begin}"
            )
    return phases


_GOLDEN = np.array([0x9E3779B97F4A7C15], np.uint64)


def _mixed(z):
    # Quotients in place of shifts, which tensors have no operator for.
    z = (z ^ (z // np.uint64(2**30))) * np.array([0xBF58476D1CE4E5B9], np.uint64)
    z = (z ^ (z // np.uint64(2**27))) * np.array([0x94D049BB133111EB], np.uint64)
    return z ^ (z // np.uint64(2**31))
