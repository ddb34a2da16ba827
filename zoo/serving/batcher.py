"""`Batcher`: requests that wait are run together."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from zoo.serving.refusal import Refusal

Arrays = Mapping[str, np.ndarray]


class Batcher:
    """Runs requests that wait for the same thing in one call, and splits the answer.

    One call runs at a time, in a thread of its own; whatever arrives meanwhile waits and is the
    next batch. Requests go together that ask the same function with the same shapes but for the
    first axis, rows. Where the call of several fails, each is run alone, so that one which cannot
    be answered spoils no other. A request with more rows than a batch may have is run alone.

    Args:
        run: from what is asked, and input name to values, to output name to values, a row each.
        max_rows: of a batch.
        wait: seconds that the first of a batch waits for others while nothing runs.
        max_waiting: rows that may wait.

    Example:

    >>> def run(what, inputs):
    ...     return {"sum": inputs["x"].sum(1)}
    >>> async def ask():
    ...     async with Batcher(run) as batcher:
    ...         return await batcher.ask("sum", {"x": np.array([[1.0, 2.0]])}, 1)
    >>> asyncio.run(ask())
    {'sum': array([3.])}
    """

    def __init__(
        self,
        run: Callable[[Hashable, Arrays], Arrays],
        max_rows: int = 256,
        wait: float = 0.0,
        max_waiting: int = 4096,
    ):
        self.run, self.max_rows, self.wait = run, max_rows, wait
        self.max_waiting = max_waiting
        self.waiting = 0
        """Rows that wait."""
        self.calls = 0
        """Calls of `run` so far."""
        self._groups: dict[Hashable, deque[_Waiting]] = {}
        self._news = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "model")

    async def __aenter__(self) -> "Batcher":
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._work())
        return self

    async def __aexit__(self, *error: Any) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])
        for group in self._groups.values():
            for own in group:
                own.refuse(Refusal(503, "The server stops"))
        self._thread.shutdown()

    async def ask(self, what: Hashable, inputs: Arrays, rows: int | None) -> Arrays:
        """What `run` answers, for these rows.

        Args:
            what: is asked.
            inputs: input name to values (rows, ...).
            rows: how many; None for inputs that cannot be run with others.

        Raises:
            Refusal: 503 when too many rows wait.
            Exception: what `run` raises for this request alone.
        """
        count = rows or 1
        if self.waiting + count > self.max_waiting:
            raise Refusal(
                503,
                f"{self.max_waiting} rows may wait. Received: {count} more than {self.waiting}",
                {"Retry-After": "1"},
            )
        own = _Waiting(what, inputs, count, self._loop.create_future())
        together = rows is not None and rows <= self.max_rows
        # An object that nothing else equals: a group of its own.
        group = (what, _inner_shapes(inputs)) if together else object()
        self._groups.setdefault(group, deque()).append(own)
        self.waiting += count
        self._news.set()
        return await own.future

    async def _work(self):
        while True:
            while not self._groups:
                await self._next_news()
            # Whoever waits longest; a dict keeps the order of arrival, but not of what is left.
            group = min(self._groups, key=lambda key: self._groups[key][0].since)
            if self.wait:
                await self._fill(group)
            batch = self._take(group)
            if batch:
                answers = await self._loop.run_in_executor(self._thread, self._answers, batch)
                for own, answer in zip(batch, answers, strict=True):
                    own.settle(answer)

    async def _fill(self, group):
        """Waits until a batch is full, or its first request has waited long enough."""
        waiting = self._groups[group]
        until = waiting[0].since + self.wait
        while isinstance(group, tuple) and sum(own.rows for own in waiting) < self.max_rows:
            left = until - time.monotonic()
            if left <= 0:
                return
            try:
                await asyncio.wait_for(self._next_news(), left)
            except TimeoutError:
                return

    async def _next_news(self):
        self._news.clear()
        await self._news.wait()

    def _take(self, group):
        waiting, batch, rows = self._groups[group], [], 0
        while waiting and (not batch or rows + waiting[0].rows <= self.max_rows):
            own = waiting.popleft()
            self.waiting -= own.rows
            # Nobody waits any more for what was given up.
            if not own.future.done():
                batch.append(own)
                rows += own.rows
        if not waiting:
            del self._groups[group]
        return batch

    # -- in the thread

    def _answers(self, batch):
        """The answer to each, or what it failed of."""
        if len(batch) > 1:
            try:
                return self._together(batch)
            except Exception:
                pass
        return [self._alone(own) for own in batch]

    def _together(self, batch):
        inputs = {
            name: np.concatenate([own.inputs[name] for own in batch]) for name in batch[0].inputs
        }
        ends = np.cumsum([own.rows for own in batch])
        self.calls += 1
        outputs = self.run(batch[0].what, inputs)
        for name, values in outputs.items():
            if len(values) != ends[-1]:
                raise ValueError(f"Output '{name}' has {len(values)} rows of {ends[-1]}")
        parts = {name: np.split(values, ends[:-1]) for name, values in outputs.items()}
        return [{name: part[i] for name, part in parts.items()} for i in range(len(batch))]

    def _alone(self, own):
        self.calls += 1
        try:
            return self.run(own.what, own.inputs)
        except Exception as error:
            return error


class _Waiting:
    """A request that waits for its answer."""

    def __init__(self, what, inputs, rows, future):
        self.what, self.inputs, self.rows, self.future = what, inputs, rows, future
        self.since = time.monotonic()

    def settle(self, answer):
        if isinstance(answer, Exception):
            self.refuse(answer)
        elif not self.future.done():
            self.future.set_result(answer)

    def refuse(self, error):
        if not self.future.done():
            self.future.set_exception(error)


def _inner_shapes(inputs):
    return tuple((name, values.shape[1:]) for name, values in inputs.items())
