"""Dataset: batches of three splits, with the features and the tasks that fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from mtl_keras.tasks import BinaryTask, Task
from zoo.datasets.columns import Categories, Split
from zoo.features import Categorical, Feature, Numeric

if TYPE_CHECKING:
    import tensorflow as tf

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, repr=False)
class Dataset:
    """A multi-task data set, ready for `model.fit`.

    Each split is a batched and prefetched `tf.data.Dataset` of pairs (x, y): x maps a feature
    name to raw values (batch, ...), such as float32 for a number and string for a category; y
    maps a task name to labels (batch, ...). The last batch may be smaller. Only `train` is
    shuffled: anew in each epoch, and equally in every load with the same seed (and the same
    global seed of TensorFlow, where one is set).

    Args:
        name: name in `zoo.datasets.list()`.
        source: where the rows came from, "embedded" or "tfds".
        train: the split to fit on.
        validation: the split to choose by.
        test: the split to report.
        features: feature name to kind, with statistics of the train split alone.
        tasks: the tasks that y labels, in order.
        sizes: split name to number of rows.
        label_rates: split name to name of a binary task to share of positive labels, 0 to 1.
        missing_rates: split name to task name to share of missing labels, 0 to 1.
        row_tasks: where each row belongs to one of several tasks, the name of the input that says
            to which, by id, and their number; that input is none of `features`.

    Example:

    >>> import zoo.datasets
    >>> data = zoo.datasets.load("census_income", batch_size=32)
    >>> x, y = next(iter(data.train))
    >>> x["age"].shape, sorted(y)
    (TensorShape([32]), ['income', 'never_married'])
    """

    name: str
    source: str
    train: tf.data.Dataset
    validation: tf.data.Dataset
    test: tf.data.Dataset
    features: Mapping[str, Feature]
    tasks: Sequence[Task]
    sizes: Mapping[str, int]
    label_rates: Mapping[str, Mapping[str, float]]
    missing_rates: Mapping[str, Mapping[str, float]]
    row_tasks: Mapping[str, int]

    @classmethod
    def from_splits(
        cls,
        name: str,
        source: str,
        splits: Mapping[str, Split],
        tasks: Sequence[Task],
        batch_size: int = 256,
        seed: int = 0,
        features: Mapping[str, Feature] = MappingProxyType({}),
        row_tasks: Mapping[str, int] = MappingProxyType({}),
    ) -> Dataset:
        """Makes a data set of splits that are in memory.

        Args:
            name: name of the data set.
            source: where the rows came from.
            splits: the splits "train", "validation" and "test".
            tasks: one task for each label of the splits.
            batch_size: rows in a batch, 1 or more.
            seed: seed of the order of `train`, 0 or more.
            features: input name to kind, for inputs that are neither numbers nor `Categories`.
            row_tasks: name of the input that tells whose a row is, and number of tasks.
        """
        batches = {
            split: _batches(splits[split], batch_size, seed if split == "train" else None)
            for split in SPLITS
        }
        return cls(
            name=name,
            source=source,
            **batches,
            features=MappingProxyType(
                {
                    name: features[name] if name in features else _feature(values)
                    for name, values in splits["train"].inputs.items()
                    if name not in row_tasks
                }
            ),
            tasks=tuple(tasks),
            sizes=MappingProxyType({split: len(splits[split]) for split in SPLITS}),
            label_rates=_rates(splits, [t for t in tasks if isinstance(t, BinaryTask)], np.nanmean),
            missing_rates=_rates(splits, tasks, lambda labels: np.isnan(labels).mean()),
            row_tasks=MappingProxyType(dict(row_tasks)),
        )

    def __repr__(self):
        binary = list(self.label_rates["train"])
        width = max([16, *(len(name) + 2 for name in binary)])
        header = f"{'split':<12}{'rows':>9}" + "".join(f"{name:>{width}}" for name in binary)
        lines = [f"Dataset {self.name!r} ({self.source}), {len(self.features)} features", header]
        for split in SPLITS:
            rates = "".join(f"{rate:>{width}.2%}" for rate in self.label_rates[split].values())
            lines.append(f"{split:<12}{self.sizes[split]:>9,}{rates}")
        return "\n".join(lines)


def _rates(splits, tasks, rate):
    return MappingProxyType(
        {
            split: {task.name: float(rate(_labels(splits[split], task))) for task in tasks}
            for split in SPLITS
        }
    )


def _labels(split, task):
    labels = split.labels[task.name].astype("float64")
    return np.where(labels == task.missing_value, np.nan, labels)


def _feature(values):
    if isinstance(values, Categories):
        return Categorical(vocabulary=values.values)
    exact = values.astype(np.float64)
    return Numeric(mean=float(exact.mean()), variance=float(exact.var()))


def _batches(split, batch_size, shuffle_seed):
    """Shuffles row numbers and gathers whole batches: far faster than slices row by row."""
    import tensorflow as tf

    # Data stay in the host's memory, also where there is an accelerator.
    with tf.device("cpu:0"):
        inputs = {name: _gathered(values) for name, values in split.inputs.items()}
        labels = {name: _gathered(values) for name, values in split.labels.items()}

    def gather(rows):
        return (
            {name: column(rows) for name, column in inputs.items()},
            {name: column(rows) for name, column in labels.items()},
        )

    rows = tf.data.Dataset.range(len(split))
    if shuffle_seed is not None:
        rows = rows.shuffle(len(split), seed=shuffle_seed, reshuffle_each_iteration=True)
    return rows.batch(batch_size).map(gather).prefetch(tf.data.AUTOTUNE)


def _gathered(column):
    """From row numbers to values of a column."""
    import tensorflow as tf

    if not isinstance(column, Categories):
        values = tf.constant(column)
        return lambda rows: tf.gather(values, rows)
    codes, words = tf.constant(column.codes), tf.constant(column.values)
    return lambda rows: tf.gather(words, tf.gather(codes, rows))
