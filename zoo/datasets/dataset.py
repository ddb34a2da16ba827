"""Dataset: batches of three splits, with the features and the tasks that fit them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from mtl_keras.tasks import BinaryTask, Task
from zoo.datasets.batches import batches_of
from zoo.datasets.columns import Categories, Split, content_of
from zoo.datasets.words import Words
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
    global seed of TensorFlow, where one is set). Inputs of any length, whose feature's shape begins
    with `None`, are filled with zeros up to the longest row of the batch; `train` then puts rows
    of about one length together.

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
            to which, by id, and the tasks' names; that input is none of `features`.
        splits: the same rows in memory, unbatched and in order.

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
    row_tasks: Mapping[str, Sequence[str]]
    splits: Mapping[str, Split]

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
        row_tasks: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> Dataset:
        """Makes a data set of splits that are in memory.

        Args:
            name: name of the data set.
            source: where the rows came from.
            splits: the splits "train", "validation" and "test".
            tasks: one task for each label of the splits.
            batch_size: rows in a batch, 1 or more.
            seed: seed of the order of `train`, 0 or more.
            features: input name to kind, for inputs that are not numbers, `Categories` or `Words`.
            row_tasks: name of the input that tells whose a row is, and names of the tasks.
        """
        padded = [
            name for name, own in features.items() if getattr(own, "shape", ())[:1] == (None,)
        ]
        batches = {
            split: batches_of(splits[split], batch_size, seed if split == "train" else None, padded)
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
            splits=MappingProxyType(dict(splits)),
        )

    def in_order(self, batch_size: int, seed: int) -> Dataset:
        """The same rows in batches of another size, with `train` in the order of another seed.

        Args:
            batch_size: rows in a batch, 1 or more.
            seed: seed of the order of `train`, 0 or more.
        """
        return self._of(self.splits, self.tasks, batch_size, seed, self.row_tasks)

    def only(
        self, task: str, row_task: int | None = None, batch_size: int = 256, seed: int = 0
    ) -> Dataset:
        """The rows that have a label of one task, with that task alone.

        Args:
            task: name of the task.
            row_task: where each row belongs to one of several tasks, whose rows, by id; the
                input that says so is then left out.
            batch_size: rows in a batch, 1 or more.
            seed: seed of the order of `train`, 0 or more.

        Returns:
            A `Dataset`, with the same features: their statistics stay those of all rows.
        """
        (kept,) = (own for own in self.tasks if own.name == task)
        whose = {} if row_task is None else self.row_tasks
        splits = {name: _only(split, kept, whose, row_task) for name, split in self.splits.items()}
        left = {name: names for name, names in self.row_tasks.items() if name not in whose}
        return self._of(splits, [kept], batch_size, seed, left)

    def _of(self, splits, tasks, batch_size, seed, row_tasks):
        return type(self).from_splits(
            self.name, self.source, splits, tasks, batch_size, seed, self.features, row_tasks
        )

    def digest(self) -> str:
        """SHA-256 of all rows in their order, as hexadecimal digits: whether data are the same."""
        digest = hashlib.sha256()
        for split in SPLITS:
            digest.update(f"{split} {len(self.splits[split])}\n".encode())
            columns = self.splits[split].inputs | self.splits[split].labels
            for name in sorted(columns):
                digest.update(f"{name}\n".encode())
                digest.update(content_of(columns[name]))
        return digest.hexdigest()

    def __repr__(self):
        binary = list(self.label_rates["train"])
        width = max([16, *(len(name) + 2 for name in binary)])
        header = f"{'split':<12}{'rows':>9}" + "".join(f"{name:>{width}}" for name in binary)
        lines = [f"Dataset {self.name!r} ({self.source}), {len(self.features)} features", header]
        for split in SPLITS:
            rates = "".join(f"{rate:>{width}.2%}" for rate in self.label_rates[split].values())
            lines.append(f"{split:<12}{self.sizes[split]:>9,}{rates}")
        return "\n".join(lines)


def _only(split, task, row_tasks, row_task):
    rows = np.isfinite(_labels(split, task)).reshape(len(split), -1).any(axis=1)
    inputs = dict(split.inputs)
    for column in row_tasks:
        rows &= inputs.pop(column) == row_task
    labels = {task.name: split.labels[task.name]}
    return Split(inputs, labels).take(np.flatnonzero(rows))


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
    if isinstance(values, Words):
        return values.feature()
    exact = values.astype(np.float64)
    return Numeric(mean=float(exact.mean()), variance=float(exact.var()))
