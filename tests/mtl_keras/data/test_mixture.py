"""The plan of a mixed stream."""

import itertools

import numpy as np
import pytest

from mtl_keras.data import Mixture

SIZES = {"a": 40, "b": 5, "c": 15}


def taken(mixture, batches):
    return [ids.tolist() for ids in itertools.islice(mixture.batches(), batches)]


def test_the_same_arguments_give_the_same_batches():
    assert taken(Mixture(SIZES, seed=3), 20) == taken(Mixture(SIZES, seed=3), 20)


def test_another_seed_gives_others():
    assert taken(Mixture(SIZES, seed=3), 20) != taken(Mixture(SIZES, seed=4), 20)


def test_no_two_batches_share_their_draws():
    drawn = taken(Mixture(SIZES, batch_size=32), 50)
    assert len(set(map(tuple, drawn))) == 50


def test_batches_are_the_draws_by_their_numbers():
    mixture = Mixture(SIZES, batch_size=4)
    assert taken(mixture, 200) == mixture.draws(np.arange(200)).tolist()


@pytest.mark.parametrize("unit", ["example", "batch"])
def test_drop_gives_each_example_once(unit):
    mixture = Mixture(SIZES, batch_size=4, unit=unit, exhausted="drop")
    assert mixture.counts() == SIZES
    batches = taken(mixture, None)
    if unit == "example":
        assert [len(batch) for batch in batches] == [4] * 15
    else:
        # Whole batches of each task, and what is left: 10, 1 + 1, and 3 + 1.
        assert sorted(map(len, batches)) == [1, 3] + [4] * 14
        assert all(len(set(batch)) == 1 for batch in batches)


@pytest.mark.parametrize("seed", range(5))
def test_stop_ends_where_a_task_has_no_more(seed):
    mixture = Mixture(SIZES, batch_size=4, exhausted="stop", seed=seed)
    endless = np.concatenate(
        list(itertools.islice(Mixture(SIZES, batch_size=4, seed=seed).batches(), 50))
    )
    used, kept = dict.fromkeys(range(3), 0), []
    for task in endless:
        if used[task] == list(SIZES.values())[task]:
            break
        used[task] += 1
        kept.append(task)
    np.testing.assert_array_equal(np.concatenate(list(mixture.batches())), kept)


def test_counts_are_of_the_first_batches():
    mixture = Mixture(SIZES, "round_robin", batch_size=2)
    assert mixture.counts(2) == {"a": 2, "b": 1, "c": 1}
    assert mixture.counts(3, start=2) == {"a": 2, "b": 2, "c": 2}


def test_an_unknown_size_does_where_none_is_needed():
    assert sum(Mixture({"a": None, "b": None}, batch_size=8).counts(5).values()) == 40


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"sizes": {}}, "at least one task"),
        ({"sizes": [3, 4]}, r"must be a dict .*Received: \[3, 4\]"),
        ({"sizes": {"a": 0, "b": 1}}, r"must have examples. Received: none for \['a'\]"),
        ({"sizes": {"a": None}, "strategy": "proportional"}, r"give `sizes`.*\['a'\]"),
        ({"batch_size": 0}, "`batch_size` must be .*Received: batch_size=0"),
        ({"unit": "row"}, r"`unit` must be one of .*Received: unit='row'"),
        ({"exhausted": "end"}, r"`exhausted` must be one of .*Received: exhausted='end'"),
        ({"unit": "batch", "stratified": True}, "`stratified` goes with unit='example'"),
        ({"seed": -1}, "`seed` must be .*Received: seed=-1"),
        ({"strategy": {"a": 1}}, "`strategy` must weigh"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(ValueError, match=message):
        Mixture(**{"sizes": SIZES, **arguments})


def test_the_counts_of_what_never_ends_need_a_number():
    with pytest.raises(ValueError, match="`batches` must be a number"):
        Mixture(SIZES).counts()
    with pytest.raises(ValueError, match="give `sizes`"):
        Mixture({"a": None}, exhausted="drop").counts()
