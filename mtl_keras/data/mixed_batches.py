"""MixedBatches: arrays of several tasks as one stream of batches, without TensorFlow."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from mtl_keras.checks import checked_choice, checked_count
from mtl_keras.data.mixture import Mixture
from mtl_keras.data.structure import Spec, Structure, by_task, with_task_input
from mtl_keras.tasks import Task


class MixedBatches(keras.utils.PyDataset):
    """Batches mixed from the arrays of several tasks, for `fit` on every backend.

    What `mtl_keras.data.mix` is for streams, this is for arrays in memory: the same arguments
    draw the same tasks in the same order. Batches are gathered whole, which is much faster than
    a stream of single examples.

    Args:
        arrays: a name to (x, y) or (x, y, sample_weight), arrays or dicts of arrays with a row
            an example; y is the label of the task of that name, or a dict of labels by task.
        strategy: see `mix`.
        batch_size: examples in a batch.
        unit: see `mix`.
        stratified: see `mix`.
        exhausted: "repeat" goes through a task's rows again and again, on over the epochs;
            "drop" gives each row once an epoch.
        seed: of draws and orders.
        shuffle: whether each pass through a task's rows is in an order of its own.
        batches_per_epoch: length of an epoch. Default: as many as all rows fill; "drop" has no
            other.
        epoch: number of the first epoch, to go on where another fit stopped.
        task_input: see `mix`.
        fill_inputs: see `mix`.
        tasks: see `mix`.
        options: `workers`, `use_multiprocessing` and `max_queue_size` of `keras.utils.PyDataset`.

    Attributes:
        mixture: the `Mixture`, which tells chances and counts.
        epoch: number of the epoch whose batches these are.

    Raises:
        ValueError: as `mix`; and for arrays of unequal length and `batches_per_epoch` with "drop".

    Example:

    >>> books, dvd = (np.zeros((90, 3)), np.ones(90)), (np.zeros((10, 3)), np.ones(10))
    >>> batches = MixedBatches({"books": books, "dvd": dvd}, "proportional", 10, seed=3)
    >>> len(batches)
    10
    >>> x, y = batches[0]
    >>> x.shape, int(np.isfinite(y["books"]).sum())
    ((10, 3), 9)
    """

    def __init__(
        self,
        arrays: Mapping[str, tuple],
        strategy: Any = "uniform",
        batch_size: int = 32,
        *,
        unit: str = "example",
        stratified: bool = False,
        exhausted: str = "repeat",
        seed: int = 0,
        shuffle: bool = True,
        batches_per_epoch: int | None = None,
        epoch: int = 0,
        task_input: str | None = None,
        fill_inputs: bool = False,
        tasks: Sequence[Task] | None = None,
        **options: Any,
    ):
        super().__init__(**options)
        checked_choice(exhausted, "exhausted", ("repeat", "drop"))
        arrays = {name: _as_arrays(data) for name, data in _checked_dict(arrays).items()}
        sizes = {name: _length(name, data) for name, data in arrays.items()}
        self.mixture = Mixture(
            sizes,
            strategy,
            batch_size,
            unit=unit,
            stratified=stratified,
            exhausted=exhausted,
            seed=seed,
        )
        examples = {name: keras.tree.map_structure(_spec, data) for name, data in arrays.items()}
        self._structure = Structure(examples, tasks, task_input, fill_inputs)
        self._columns = self._arranged(arrays)
        self._shuffle = bool(shuffle)
        if exhausted == "drop" and batches_per_epoch is not None:
            raise ValueError(
                "`batches_per_epoch` must be None with exhausted='drop', where the rows say it. "
                f"Received: batches_per_epoch={batches_per_epoch}"
            )
        self._num_batches = self._batches_of_all_rows()
        if batches_per_epoch is not None:
            self._num_batches = checked_count(batches_per_epoch, "batches_per_epoch")
        self.epoch = checked_count(epoch, "epoch", minimum=0)
        # An epoch, its batches, and examples of each task to its end: in one, as threads may ask.
        self._planned = (-1, [], 0)

    def __len__(self) -> int:
        return self._num_batches

    def __getitem__(self, index: int) -> tuple:
        if not 0 <= index < len(self):
            raise IndexError(f"There are batches 0 to {len(self) - 1}. Received: {index}")
        planned = self._planned
        if planned[0] != self.epoch:
            self._planned = planned = self._plan(self.epoch)
        return self._batch(*planned[1][index])

    def on_epoch_end(self):
        """The next epoch's batches are others."""
        self.epoch += 1

    def follow_fit(self, initial_epoch: int = 0) -> keras.callbacks.Callback:
        """A callback that keeps `epoch` in step with a fit; a `MultiTaskModel` adds it itself.

        Without it Keras ends an epoch more, when it looks at a first batch to build a model. So
        a fit that is resumed, by `initial_epoch` or by `keras.callbacks.BackupAndRestore`, gets
        the batches that it would have got.

        Args:
            initial_epoch: what `fit` is given.
        """
        passed = max(0, self.epoch - initial_epoch)

        def begin(epoch, logs=None):
            self.epoch = passed + epoch

        def end(epoch, logs=None):
            self.epoch = passed + epoch + 1

        return keras.callbacks.LambdaCallback(on_epoch_begin=begin, on_epoch_end=end)

    def _plan(self, epoch):
        # For each batch of the epoch, the tasks of its examples and their rows.
        drawn = self.mixture.batches(epoch * len(self))
        batches = list(itertools.islice(drawn, len(self)))
        ids = np.concatenate(batches)
        rows = np.empty(len(ids), np.int64)
        seen = self._seen(epoch)
        after = seen + np.bincount(ids, minlength=len(seen))
        for k, (start, stop) in enumerate(zip(seen, after, strict=True)):
            rows[ids == k] = self._order(k, start, stop)
        ends = np.cumsum([len(batch) for batch in batches])[:-1]
        return epoch, list(zip(batches, np.split(rows, ends), strict=True)), after

    def _seen(self, epoch):
        # Examples of each task in all epochs before.
        if self.mixture.exhausted == "drop":
            return epoch * np.array(list(self.mixture.sizes.values()))
        last, _, after = self._planned
        done, seen = (last + 1, after) if last < epoch else (0, 0)
        new = self.mixture.counts((epoch - done) * len(self), done * len(self))
        return seen + np.array(list(new.values()))

    def _order(self, k, start, stop):
        # Rows number `start` to `stop` of the endless passes through the rows of task k.
        size = list(self.mixture.sizes.values())[k]
        passes = [
            np.random.default_rng((self.mixture.seed, k, i, 1)).permutation(size)
            if self._shuffle
            else np.arange(size)
            for i in range(start // size, -(-stop // size))
        ]
        first = start // size * size
        return np.concatenate([np.zeros(0, np.int64), *passes])[start - first : stop - first]

    def _batch(self, ids, rows):
        order = np.argsort(ids, kind="stable")
        ends = np.cumsum(np.bincount(ids, minlength=len(self.mixture.names))).tolist()
        rows = rows[order]
        own = {
            name: (order[start:end], rows[start:end])
            for name, start, end in zip(self.mixture.names, [0, *ends[:-1]], ends, strict=True)
            if end > start
        }
        x, y, weights = keras.tree.map_structure(
            lambda column: column.gathered(own, len(ids)), self._columns
        )
        x = with_task_input(x, self._structure.task_input, ids.astype("int32"))
        return (x, y, *weights)

    def _arranged(self, arrays):
        # Columns of inputs, labels and weights, in the structure of a batch.
        inputs = {name: data[0] for name, data in arrays.items()}
        labels = {name: by_task(name, data[1]) for name, data in arrays.items()}
        missing = self._structure.missing
        y = {task: _Column(_having(task, labels), missing[task]) for task in missing}
        weights = {name: arrays[name][2] for name in self._structure.weighted}
        return _input_columns(inputs), y, [_Column(weights, 1)] if weights else []

    def _batches_of_all_rows(self):
        sizes = np.array(list(self.mixture.sizes.values()))
        if self.mixture.unit == "example":
            return int(-(-sizes.sum() // self.mixture.batch_size))
        return int((-(-sizes // self.mixture.batch_size)).sum())


@dataclass(frozen=True)
class _Column:
    # One array of each data set that has it, and what stands where none is.
    arrays: dict[str, np.ndarray]
    blank: Any

    def gathered(self, own, size):
        # `own`: data set to places in the batch, of this size, and the rows that come there.
        there = [name for name in self.arrays if name in own]
        like = self.arrays[there[0] if there else next(iter(self.arrays))]
        kind = object if _holds_strings(like) else like.dtype
        found = np.full((size, *like.shape[1:]), self.blank, kind)
        for name in there:
            places, rows = own[name]
            found[places] = self.arrays[name].take(rows, axis=0)
        return found


def _input_columns(inputs):
    first, *others = inputs.values()
    if isinstance(first, Mapping) and any(set(first) != set(x) for x in others):
        keys = dict.fromkeys(key for x in inputs.values() for key in x)
        return {key: _column_of_inputs(_having(key, inputs)) for key in keys}
    return keras.tree.map_structure(
        lambda *arrays: _column_of_inputs(dict(zip(inputs, arrays, strict=True))), first, *others
    )


def _column_of_inputs(arrays):
    return _Column(arrays, "" if _holds_strings(next(iter(arrays.values()))) else 0)


def _having(key, dicts):
    return {name: values[key] for name, values in dicts.items() if key in values}


def _holds_strings(array):
    return array.dtype.kind in "USO"


def _checked_dict(arrays):
    if not isinstance(arrays, Mapping):
        raise ValueError(f"`arrays` must be a dict by task. Received: {type(arrays).__name__}")
    for name, data in arrays.items():
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            raise ValueError(
                f"Data set '{name}' must be (x, y) or (x, y, sample_weight). "
                f"Received: {type(data).__name__}"
            )
    return arrays


def _as_arrays(data):
    return tuple(keras.tree.map_structure(np.asarray, part) for part in data if part is not None)


def _length(name, data):
    lengths = sorted({array.shape[:1] for array in keras.tree.flatten(data)})
    if len(lengths) != 1 or lengths[0] == ():
        raise ValueError(
            f"Data set '{name}': arrays must have one row an example. "
            f"Received: shapes {[array.shape for array in keras.tree.flatten(data)]}"
        )
    return lengths[0][0]


def _spec(array):
    return Spec(array.shape[1:], "string" if _holds_strings(array) else array.dtype.name)
