"""What is run together, and that everybody gets their own answer."""

import asyncio
import threading

import numpy as np
import pytest

from zoo.serving.batcher import Batcher
from zoo.serving.refusal import Refusal


class Model:
    """Adds the columns; keeps the rows of every call; -1 fails, and it can be held."""

    def __init__(self, held=False):
        self.calls = []
        self.free = threading.Event()
        if not held:
            self.free.set()

    def __call__(self, what, inputs):
        self.free.wait(20)
        self.calls.append((what, inputs["x"].shape))
        if (inputs["x"] == -1).any():
            raise ValueError("minus one")
        return {"sum": inputs["x"].sum(axis=1), "copy": inputs["x"]}


def x(*values, width=1):
    return {"x": np.repeat(np.array(values, float)[:, None], width, axis=1)}


async def held_up(batcher, model):
    """Waits until a first request is being run, so that what follows waits."""
    first = asyncio.ensure_future(batcher.ask("sum", x(0), 1))
    await asyncio.sleep(0)
    while batcher.waiting:
        await asyncio.sleep(0.001)
    return first


def run(scenario, model, **options):
    async def main():
        async with Batcher(model, **options) as batcher:
            first = await held_up(batcher, model) if not model.free.is_set() else None
            found = await scenario(batcher)
            if first is not None:
                assert (await first)["sum"] == [0]
            return found

    return asyncio.run(asyncio.wait_for(main(), 30))


async def all_of(batcher, model, *questions, what="sum"):
    """The answers to requests that wait at the same time."""
    asked = [asyncio.ensure_future(batcher.ask(what, own, len(own["x"]))) for own in questions]
    await asyncio.sleep(0)
    model.free.set()
    return await asyncio.gather(*asked, return_exceptions=True)


def test_what_waits_is_run_together_and_everybody_gets_their_own():
    model = Model(held=True)
    questions = [x(*range(i, i + 1 + i % 3)) for i in range(20)]
    answers = run(lambda batcher: all_of(batcher, model, *questions), model)
    for own, answer in zip(questions, answers, strict=True):
        np.testing.assert_array_equal(answer["copy"], own["x"])
        np.testing.assert_array_equal(answer["sum"], own["x"][:, 0])
    total = sum(len(own["x"]) for own in questions)
    assert model.calls == [("sum", (1, 1)), ("sum", (total, 1))]


def test_a_batch_has_no_more_rows_than_it_may():
    model = Model(held=True)
    questions = [x(1, 2), x(3), x(4, 5), x(6), x(7)]
    run(lambda batcher: all_of(batcher, model, *questions), model, max_rows=3)
    assert [shape[0] for _, shape in model.calls] == [1, 3, 3, 1]


def test_a_request_of_more_rows_than_a_batch_runs_alone():
    model = Model(held=True)
    questions = [x(1), x(2, 3, 4, 5), x(6)]
    answers = run(lambda batcher: all_of(batcher, model, *questions), model, max_rows=3)
    assert answers[1]["sum"].tolist() == [2, 3, 4, 5]
    assert sorted(shape[0] for _, shape in model.calls[1:]) == [2, 4]


def test_other_shapes_and_other_questions_are_run_apart():
    model = Model(held=True)

    async def scenario(batcher):
        other = [batcher.ask("other", x(8), 1), batcher.ask("sum", x(9), None)]
        other = [asyncio.ensure_future(own) for own in other]
        found = await all_of(batcher, model, x(1), x(2, width=2), x(3), x(4, width=2))
        return found + await asyncio.gather(*other)

    answers = run(scenario, model)
    assert [own["sum"].tolist() for own in answers] == [[1], [4], [3], [8], [8], [9]]
    found = sorted(model.calls[1:])
    assert found == [("other", (1, 1)), ("sum", (1, 1)), ("sum", (2, 1)), ("sum", (2, 2))]


def test_a_request_that_fails_spoils_no_other():
    model = Model(held=True)
    answers = run(lambda batcher: all_of(batcher, model, x(1), x(-1), x(3)), model)
    assert [answers[0]["sum"].tolist(), answers[2]["sum"].tolist()] == [[1], [3]]
    assert isinstance(answers[1], ValueError) and str(answers[1]) == "minus one"


def test_an_output_without_a_row_each_is_asked_for_one_by_one():
    def total(what, inputs):
        return {"total": inputs["x"].sum(keepdims=True)[0]}

    model = Model(held=True)

    def held(what, inputs):
        model.free.wait(20)
        return total(what, inputs) | {"sum": inputs["x"][:, 0]}

    async def scenario():
        async with Batcher(held) as batcher:
            first = await held_up(batcher, model)
            answers = await all_of(batcher, model, x(1, 2), x(3, 4))
            await first
            return answers

    answers = asyncio.run(scenario())
    assert [own["total"].tolist() for own in answers] == [[3], [7]]


def test_one_too_many_is_refused_and_those_that_wait_are_not():
    model = Model(held=True)

    async def scenario(batcher):
        waiting = [asyncio.ensure_future(batcher.ask("sum", x(1, 2), 2)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Refusal) as refused:
            await batcher.ask("sum", x(1, 2), 2)
        assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "1"})
        assert "5 rows may wait. Received: 2 more than 4" in refused.value.reason
        model.free.set()
        return await asyncio.gather(*waiting)

    answers = run(scenario, model, max_waiting=5)
    assert [own["sum"].tolist() for own in answers] == [[1, 2]] * 2


def test_what_was_given_up_is_not_run_and_waits_no_more():
    model = Model(held=True)

    async def scenario(batcher):
        given_up = asyncio.ensure_future(batcher.ask("sum", x(7), 1))
        await asyncio.sleep(0)
        given_up.cancel()
        answers = await all_of(batcher, model, x(1))
        return answers, batcher.waiting

    answers, waiting = run(scenario, model)
    assert answers[0]["sum"].tolist() == [1] and waiting == 0
    assert model.calls == [("sum", (1, 1)), ("sum", (1, 1))]


def test_the_first_waits_for_others_as_long_as_it_may():
    model = Model()

    async def scenario(batcher):
        first = asyncio.ensure_future(batcher.ask("sum", x(1), 1))
        await asyncio.sleep(0.05)
        assert not model.calls
        second = batcher.ask("sum", x(2), 1)
        return await asyncio.gather(first, second)

    # A minute, were it not that two rows fill the batch.
    run(scenario, model, wait=60, max_rows=2)
    assert model.calls == [("sum", (2, 1))]


def test_who_waits_for_others_waits_no_longer_than_it_may():
    model = Model()
    answer = run(lambda batcher: batcher.ask("sum", x(1), 1), model, wait=0.01, max_rows=2)
    assert answer["sum"].tolist() == [1]


def test_who_waits_in_the_end_is_told():
    model = Model(held=True)

    async def scenario():
        async with Batcher(model) as batcher:
            await held_up(batcher, model)
            waiting = asyncio.ensure_future(batcher.ask("sum", x(1), 1))
            await asyncio.sleep(0)
            model.free.set()
            # Leaves while it waits.
        with pytest.raises(Refusal, match="The server stops"):
            await waiting

    asyncio.run(scenario())


def test_many_at_once_each_get_their_own():
    model, rng = Model(), np.random.default_rng(0)

    async def client(batcher, seed):
        for i in range(30):
            own = x(*rng.normal(size=rng.integers(1, 6)), width=1 + (seed + i) % 2)
            answer = await batcher.ask("sum", own, len(own["x"]))
            np.testing.assert_array_equal(answer["copy"], own["x"])
        return 30

    async def scenario(batcher):
        answered = await asyncio.gather(*(client(batcher, seed) for seed in range(32)))
        assert batcher.waiting == 0
        return answered

    assert sum(run(scenario, model, max_rows=16)) == 960
    # Together, or it was no test of batches.
    assert len(model.calls) < 900
