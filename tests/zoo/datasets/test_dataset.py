import numpy as np
import pytest

from mtl_keras.tasks import BinaryTask
from zoo.datasets.columns import Categories, Split
from zoo.datasets.dataset import Dataset


def make_split(start, rows):
    numbers = np.arange(start, start + rows, dtype="float32")
    return Split(
        inputs={
            "number": numbers,
            "name": Categories.encode([f"row {n:.0f}" for n in numbers]),
        },
        labels={"odd": numbers % 2, "big": (numbers > start + 6).astype("float32")},
    )


@pytest.fixture
def make_dataset():
    splits = {
        "train": make_split(0, 10),
        "validation": make_split(100, 5),
        "test": make_split(200, 6),
    }
    tasks = (BinaryTask("odd"), BinaryTask("big"))
    return lambda seed=0: Dataset.from_splits("toy", "embedded", splits, tasks, 4, seed)


def numbers(batches):
    return np.concatenate([x["number"] for x, _ in batches.as_numpy_iterator()]).tolist()


def test_values_of_a_row_stay_together(make_dataset):
    for x, y in make_dataset().train.as_numpy_iterator():
        assert [name.decode() for name in x["name"]] == [f"row {n:.0f}" for n in x["number"]]
        assert y["odd"].tolist() == (x["number"] % 2).tolist()


def test_every_row_comes_once_an_epoch_and_the_last_batch_is_smaller(make_dataset):
    data = make_dataset()
    assert sorted(numbers(data.train)) == list(range(10))
    assert [len(x["number"]) for x, _ in data.train] == [4, 4, 2]
    assert data.train.cardinality() == 3


def test_only_train_is_shuffled(make_dataset):
    data = make_dataset()
    assert numbers(data.train) != list(range(10))
    assert numbers(data.validation) == list(range(100, 105))
    assert numbers(data.test) == list(range(200, 206))


def test_train_is_reshuffled_each_epoch_and_repeats_under_a_seed(make_dataset):
    first, again, other = make_dataset(seed=3), make_dataset(seed=3), make_dataset(seed=4)
    epochs = [numbers(first.train), numbers(first.train)]
    assert epochs[0] != epochs[1]
    assert epochs == [numbers(again.train), numbers(again.train)]
    assert epochs[0] != numbers(other.train)


def test_statistics_are_those_of_train_alone(make_dataset):
    features = make_dataset().features
    assert features["number"].mean == 4.5
    assert features["number"].variance == 8.25
    assert features["name"].vocabulary == tuple(f"row {n}" for n in range(10))


def test_repr_tells_source_sizes_and_label_rates(make_dataset):
    text = repr(make_dataset())
    assert "'toy' (embedded), 2 features" in text
    assert "train              10          50.00%          30.00%" in text
    assert "validation          5          40.00%           0.00%" in text
