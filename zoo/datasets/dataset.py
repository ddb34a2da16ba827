"""Dataset: batches of three splits, with the features and the tasks that fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from zoo.datasets.columns import Split
from zoo.features import Categorical, Feature, Numeric

if TYPE_CHECKING:
    import tensorflow as tf

    from mtl_keras.tasks import Task

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, repr=False)
class Dataset:
    """A multi-task data set, ready for `model.fit`.

    Each split is a batched and prefetched `tf.data.Dataset` of pairs (x, y): x maps a feature
    name to raw values (batch,), float32 for a number and string for a category; y maps a task
    name to float32 labels (batch,). The last batch may be smaller. Only `train` is shuffled:
    anew in each epoch, and equally in every load with the same seed (and the same global seed
    of TensorFlow, where one is set).

    Args:
        name: name in `zoo.datasets.list_datasets()`.
        source: where the rows came from, "embedded" or "tfds".
        train: the split to fit on.
        validation: the split to choose by.
        test: the split to report.
        features: feature name to kind, with statistics of the train split alone.
        tasks: the tasks that y labels, in order.
        sizes: split name to number of rows.
        label_rates: split name to task name to share of positive labels, 0 to 1.

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

    @classmethod
    def from_splits(
        cls,
        name: str,
        source: str,
        splits: Mapping[str, Split],
        tasks: Sequence[Task],
        batch_size: int = 256,
        seed: int = 0,
    ) -> Dataset:
        """Makes a data set of splits that are in memory.

        Args:
            name: name of the data set.
            source: where the rows came from.
            splits: the splits "train", "validation" and "test".
            tasks: one task for each label of the splits.
            batch_size: rows in a batch, 1 or more.
            seed: seed of the order of `train`, 0 or more.
        """
        batches = {
            split: _batches(splits[split], batch_size, seed if split == "train" else None)
            for split in SPLITS
        }
        return cls(
            name=name,
            source=source,
            **batches,
            features=_features(splits["train"]),
            tasks=tuple(tasks),
            sizes=MappingProxyType({split: len(splits[split]) for split in SPLITS}),
            label_rates=MappingProxyType({split: _label_rates(splits[split]) for split in SPLITS}),
        )

    def __repr__(self):
        names = [task.name for task in self.tasks]
        header = f"{'split':<12}{'rows':>9}" + "".join(f"{name:>16}" for name in names)
        lines = [f"Dataset {self.name!r} ({self.source}), {len(self.features)} features", header]
        for split in SPLITS:
            rates = "".join(f"{self.label_rates[split][name]:>16.2%}" for name in names)
            lines.append(f"{split:<12}{self.sizes[split]:>9,}{rates}")
        return "\n".join(lines)


def _label_rates(split):
    return {name: float(labels.mean()) for name, labels in split.labels.items()}


def _features(train):
    features = {}
    for name, values in train.numeric.items():
        exact = values.astype(np.float64)
        features[name] = Numeric(mean=float(exact.mean()), variance=float(exact.var()))
    for name, column in train.categorical.items():
        features[name] = Categorical(vocabulary=column.values)
    return MappingProxyType(features)


def _batches(split, batch_size, shuffle_seed):
    """Shuffles row numbers and gathers whole batches: far faster than slices row by row."""
    import tensorflow as tf

    # Data stay in the host's memory, also where there is an accelerator.
    with tf.device("cpu:0"):
        numeric = {name: tf.constant(values) for name, values in split.numeric.items()}
        codes = {name: tf.constant(column.codes) for name, column in split.categorical.items()}
        values = {name: tf.constant(column.values) for name, column in split.categorical.items()}
        labels = {name: tf.constant(column) for name, column in split.labels.items()}

    def gather(rows):
        x = {name: tf.gather(column, rows) for name, column in numeric.items()}
        for name, column in codes.items():
            x[name] = tf.gather(values[name], tf.gather(column, rows))
        return x, {name: tf.gather(column, rows) for name, column in labels.items()}

    rows = tf.data.Dataset.range(len(split))
    if shuffle_seed is not None:
        rows = rows.shuffle(len(split), seed=shuffle_seed, reshuffle_each_iteration=True)
    return rows.batch(batch_size).map(gather).prefetch(tf.data.AUTOTUNE)
