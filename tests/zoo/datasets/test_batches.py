"""Batches of splits in memory, of rows of any length."""

import numpy as np
import pytest

import mtl_keras as mtl
import zoo
from zoo.datasets.batches import batches_of
from zoo.datasets.columns import Split
from zoo.datasets.dataset import Dataset
from zoo.features import Numeric

pytest.importorskip("tensorflow")

ROWS = 300


def ragged(rows=ROWS):
    """As many ones as a row is long; another input of every thirtieth is longer by one place."""
    lengths = 1 + np.arange(rows) * 7 % 20
    kinds = (np.arange(25) < lengths[:, None]).astype("int32")
    places = np.zeros((rows, 25, 2), "float32")
    places[np.arange(0, rows, 30), lengths[::30], 1] = 1
    numbers = np.arange(rows, dtype="float32")
    return Split({"kinds": kinds, "places": places, "number": numbers}, {"length": numbers})


FEATURES = {
    "kinds": Numeric(mean=0.0, variance=1.0, shape=(None,)),
    "places": Numeric(mean=0.0, variance=1.0, shape=(None, 2)),
}


def loaded(batch_size=8, seed=0):
    splits = {name: ragged() for name in ("train", "validation", "test")}
    return Dataset.from_splits("ragged", "test", splits, [], batch_size, seed, FEATURES)


def lengths_of(x):
    return x["kinds"].sum(axis=1) + x["places"].any(axis=(1, 2))


def read(batches):
    return [x for x, _ in batches.as_numpy_iterator()]


@pytest.mark.parametrize("split", ["train", "test"])
def test_batches_are_as_long_as_their_longest_row(split):
    found = read(getattr(loaded(), split))
    for x in found:
        longest = lengths_of(x).max()
        assert x["kinds"].shape[1] == x["places"].shape[1] == longest
    rows = np.concatenate([x["number"] for x in found])
    np.testing.assert_array_equal(np.sort(rows), np.arange(ROWS))
    if split == "test":
        np.testing.assert_array_equal(rows, np.arange(ROWS))


@pytest.mark.parametrize("padded", [["kinds", "places"], ["places", "kinds"]])
def test_either_input_may_be_the_longer_one(padded):
    kinds = np.array([[3, 3, 3, 0], [3, 0, 0, 0]], "int32")
    places = np.array([[[0, 1], [0, 0], [0, 0], [0, 0]], [[1, 0], [0, 1], [0, 0], [0, 0]]], float)
    split = Split({"kinds": kinds, "places": places}, {"length": np.array([3.0, 2.0])})
    found = [x["kinds"].shape[1] for x in read(batches_of(split, 1, padded=padded))]
    assert found == [3, 2]


def test_rows_of_about_one_length_come_together_in_no_order():
    found = read(loaded().train)
    lengths = [lengths_of(x) for x in found if len(x["kinds"]) == 8]
    # By chance rows would be 13 apart in the mean batch.
    assert np.mean([own.max() - own.min() for own in lengths]) < 4
    means = np.array([own.mean() for own in lengths])
    assert abs(np.corrcoef(means[1:], means[:-1])[0, 1]) < 0.5


def test_each_epoch_has_other_batches_and_each_load_the_same():
    data = loaded()
    first, second, again, other = (
        [sorted(x["number"].tolist()) for x in read(batches)]
        for batches in (data.train, data.train, loaded().train, loaded(seed=1).train)
    )
    assert first != second
    assert sorted(first) != sorted(second)
    assert first == again
    assert sorted(first) != sorted(other)


@pytest.mark.parametrize("batch_size", [7, 8, 300])
def test_the_number_of_batches_is_known(batch_size):
    data = loaded(batch_size)
    assert int(data.train.cardinality()) == len(read(data.train)) == -(-ROWS // batch_size)


def test_what_has_no_fixed_shape_is_no_part_of_a_vector():
    with pytest.raises(ValueError, match=r"'kinds' must have a fixed shape.*Received: shape=\(N"):
        zoo.shared_trunk([mtl.BinaryTask("a")], {"kinds": FEATURES["kinds"]}, trunk=[4])
