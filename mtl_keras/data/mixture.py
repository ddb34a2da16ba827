"""Mixture: which tasks the batches of a mixed stream turn to, and how often they did."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mtl_keras.checks import checked_choice, checked_count
from mtl_keras.data.draws import Draws
from mtl_keras.data.strategies import get

UNITS = ("example", "batch")
ENDINGS = ("repeat", "stop", "drop")


class Mixture:
    """The plan of a mixed stream: the same for the same arguments, on every backend.

    Args:
        sizes: task name to number of examples; None where nobody knows it.
        strategy: a name, a dict of weights or a `Strategy`, see `mtl_keras.data.mix`.
        batch_size: examples a batch.
        unit: what is drawn: "example", so that batches hold several tasks, or "batch".
        stratified: whether each batch holds each task's expected number of examples, rounded
            up or down by chance.
        exhausted: what happens at the end of a task's data: "repeat" begins it again, "stop"
            ends the stream when the task is drawn once more, "drop" goes on with the others.
        seed: of the draws, 0 or more.

    Attributes:
        draws: a `Draws`: whose the examples of any batches are while no data end, or whose
            the batches are when whole ones are drawn.

    Raises:
        ValueError: for a task without examples, for sizes that the strategy needs and nobody
            knows, and for arguments out of range.

    Example:

    >>> mixture = Mixture({"books": 900, "dvd": 100}, "proportional", batch_size=20)
    >>> mixture.probabilities()
    {'books': 0.9, 'dvd': 0.1}
    >>> Mixture({"books": 900, "dvd": 100}, "proportional", 20, stratified=True).counts(50)
    {'books': 900, 'dvd': 100}
    """

    def __init__(
        self,
        sizes: Mapping[str, int | None],
        strategy: Any = "uniform",
        batch_size: int = 32,
        *,
        unit: str = "example",
        stratified: bool = False,
        exhausted: str = "repeat",
        seed: int = 0,
    ):
        if not isinstance(sizes, Mapping) or not sizes:
            raise ValueError(
                f"Data must be a dict from at least one task to its data. Received: {sizes!r}"
            )
        self.sizes = dict(sizes)
        self.strategy = get(strategy)
        self.batch_size = checked_count(batch_size, "batch_size")
        self.unit = checked_choice(unit, "unit", UNITS)
        self.stratified = bool(stratified)
        self.exhausted = checked_choice(exhausted, "exhausted", ENDINGS)
        self.seed = checked_count(seed, "seed", minimum=0)
        if self.stratified and self.unit == "batch":
            raise ValueError(
                "`stratified` goes with unit='example': a batch of one task has no strata. "
                "Received: stratified=True, unit='batch'"
            )
        empty = [name for name, size in self.sizes.items() if size == 0]
        if empty:
            raise ValueError(f"Every task must have examples. Received: none for {empty}")
        if self.strategy.needs_sizes:
            self._check_known(f"strategy {self.strategy} needs")
        count = 1 if self.unit == "batch" else self.batch_size
        self.draws = Draws(self.strategy, self.sizes, count, self.seed, self.stratified)

    @property
    def names(self) -> list[str]:
        """The tasks, in the order of their ids."""
        return list(self.sizes)

    def probabilities(self, batch: int = 0) -> dict[str, float]:
        """Task name to its chance in the batch of this number, counted from 0."""
        chances = self.strategy.probabilities(self.sizes, batch)
        return dict(zip(self.names, chances.tolist(), strict=True))

    def batches(self, start: int = 0) -> Iterator[np.ndarray]:
        """The task ids of each batch's examples, as the stream gives them; its end included.

        Args:
            start: number of the first draw, for all data from their beginnings but other draws.
        """
        if self.unit == "batch":
            yield from filter(len, self._drawn(start))
            return
        waiting = np.zeros(0, np.int64)
        for ids in self._drawn(start):
            waiting = np.concatenate([waiting, ids])
            while len(waiting) >= self.batch_size:
                yield waiting[: self.batch_size]
                waiting = waiting[self.batch_size :]
        if len(waiting):
            yield waiting

    def num_draws(self) -> int:
        """How often a stream with an end draws, in vain at last, before all data are used up."""
        return sum(1 for _ in self._drawn(0))

    def counts(self, batches: int | None = None, start: int = 0) -> dict[str, int]:
        """Task name to how many of its examples are in the first `batches` batches.

        Args:
            batches: None for the whole of a stream that ends.
            start: see `batches`.

        Raises:
            ValueError: for None where the stream does not end.
        """
        if batches is None and self.exhausted == "repeat":
            raise ValueError("`batches` must be a number for a stream that repeats. Received: None")
        totals = np.zeros(len(self.sizes), np.int64)
        for ids in itertools.islice(self.batches(start), batches):
            totals += np.bincount(ids, minlength=len(totals))
        return dict(zip(self.names, totals.tolist(), strict=True))

    def _drawn(self, start):
        # Draw by draw, the task ids of the examples that there still are.
        if self.exhausted == "repeat":
            each = self.batch_size if self.unit == "batch" else 1
            yield from (np.repeat(ids, each) for ids in self._endless(start))
            return
        self._check_known(f"end of a stream with exhausted='{self.exhausted}' needs")
        left = np.array(list(self.sizes.values()))
        for ids in self._endless(start):
            there = occurrences(ids) < left[ids]
            if self.exhausted == "stop" and not there.all():
                yield ids[: np.argmin(there)]
                return
            ids = ids[there]
            if self.unit == "batch":
                ids = np.repeat(ids, np.minimum(left[ids], self.batch_size))
            yield ids
            left -= np.bincount(ids, minlength=len(left))
            if not left.any():
                return

    def _endless(self, start):
        # Draw by draw, before any data end; many are made at once.
        for first in itertools.count(start, 64):
            yield from self.draws(np.arange(first, first + 64))

    def _check_known(self, needs):
        unknown = [name for name, size in self.sizes.items() if size is None]
        if unknown:
            raise ValueError(
                f"The {needs} the number of examples of each task: give `sizes`. "
                f"Received: none for {unknown}"
            )


def occurrences(ids: np.ndarray) -> np.ndarray:
    """How often each id came before, within `ids`.

    >>> occurrences(np.array([2, 0, 2, 2]))
    array([0, 0, 1, 2])
    """
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    firsts = np.searchsorted(ordered, ordered, side="left")
    found = np.empty(len(ids), np.int64)
    found[order] = np.arange(len(ids)) - firsts
    return found
