"""Batches of one static structure: tasks that lack labels or sample weights are filled in."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from mtl_keras.tasks import Task

EMPTY = "The data set is empty. Expected at least one batch. Received: no row"


def by_task(values: Any, tasks: Sequence[Task], argument: str) -> dict[str, Any]:
    """`values` as a dict by task name, without those that are None.

    Args:
        values: dict by task name, list or tuple with an item for each task, or the value of
            the only task.
        tasks: the tasks of the model.
        argument: name of the argument, for the errors.

    Raises:
        ValueError: for an unknown task or a wrong number of values.
    """
    names = [task.name for task in tasks]
    if values is None:
        return {}
    if isinstance(values, Mapping):
        unknown = [key for key in values if key not in names]
        if unknown:
            raise ValueError(
                f"`{argument}` must name tasks of the model, {names}. "
                f"Received: unknown task {', '.join(map(repr, unknown))}"
            )
        return {name: values[name] for name in names if values.get(name) is not None}
    if isinstance(values, (list, tuple)) and len(values) == len(names):
        return {n: v for n, v in zip(names, values, strict=True) if v is not None}
    if len(names) == 1:
        return {names[0]: values}
    raise ValueError(
        f"`{argument}` must be a dict by task, {names}, or a list of {len(names)}. "
        f"Received: {argument} of type {type(values).__name__}"
    )


def complete_arrays(
    y: Any, sample_weight: Any, tasks: Sequence[Task], outputs: Mapping[str, Any]
) -> tuple[Any, Any]:
    """Labels as a dict of the tasks that have some, weights for the same tasks.

    Keras wants the two of one structure; weights that are missing are ones.
    """
    labels = _labels(y, tasks, outputs)
    if sample_weight is None or not isinstance(sample_weight, (Mapping, list, tuple)):
        return labels, sample_weight
    weights = by_task(sample_weight, tasks, "sample_weight")
    return labels, {
        name: _array(weights[name]) if name in weights else np.ones(len(value), "float32")
        for name, value in labels.items()
    }


def complete_stream(data: Any, tasks: Sequence[Task], outputs: Mapping[str, Any]) -> Any:
    """A data set or generator whose batches all have the labels of all tasks.

    Labels that a batch does not have are filled in as missing. A `tf.data.Dataset` has one
    structure already and passes as it is, after a look at its task names.
    """
    if _known_length(data) == 0:
        raise ValueError(EMPTY)
    if isinstance(data, keras.utils.PyDataset):
        return _CompletePyDataset(data, tasks, outputs)
    if isinstance(data, Iterator):
        return (complete_batch(batch, tasks, outputs) for batch in data)
    _check_spec(getattr(data, "element_spec", None), tasks, outputs)
    return data


def _check_spec(spec, tasks, outputs):
    if not isinstance(spec, tuple) or len(spec) < 2:
        return
    labels = by_task(spec[1], tasks, "y")
    for task in tasks:
        shape = getattr(labels.get(task.name), "shape", None)
        if shape is not None and shape.rank is not None:
            task.labels.label_shape(shape, outputs[task.name].shape)
    if len(spec) > 2 and isinstance(spec[2], (Mapping, list, tuple)):
        by_task(spec[2], tasks, "sample_weight")


def complete_batch(
    batch: tuple, tasks: Sequence[Task], outputs: Mapping[str, Any]
) -> tuple[Any, ...]:
    """One (x, y) or (x, y, sample_weight) with labels, and weights if any, of every task."""
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
    labels = _labels(y, tasks, outputs)
    rows = len(next(iter(labels.values())))
    filled = {
        task.name: _float32(labels[task.name])
        if task.name in labels
        else _unlabelled(rows, task, outputs[task.name].shape)
        for task in tasks
    }
    if sample_weight is None:
        return x, filled
    if not isinstance(sample_weight, (Mapping, list, tuple)):
        return x, filled, {task.name: _array(sample_weight) for task in tasks}
    weights = by_task(sample_weight, tasks, "sample_weight")
    ones = np.ones(rows, "float32")
    return x, filled, {task.name: _array(weights.get(task.name, ones)) for task in tasks}


class _CompletePyDataset(keras.utils.PyDataset):
    def __init__(self, data, tasks, outputs):
        super().__init__(data.workers, data.use_multiprocessing, data.max_queue_size)
        self._data = data
        self._tasks = list(tasks)
        self._outputs = {name: _Shape(output.shape) for name, output in outputs.items()}

    def __len__(self):
        return len(self._data)

    @property
    def num_batches(self):
        return self._data.num_batches

    def __getitem__(self, index):
        return complete_batch(self._data[index], self._tasks, self._outputs)

    def on_epoch_begin(self):
        self._data.on_epoch_begin()

    def on_epoch_end(self):
        self._data.on_epoch_end()


class _Shape:
    # Stands for an output where a worker process must be able to pickle it.
    def __init__(self, shape):
        self.shape = tuple(shape)


def _labels(y, tasks, outputs):
    given = by_task(y, tasks, "y")
    if not given:
        raise ValueError(
            f"`y` must hold labels of at least one task, {[t.name for t in tasks]}. Received: y={y}"
        )
    specs = {task.name: task.labels for task in tasks}
    labels = {}
    for name, value in given.items():
        value = _array(value)
        if value.shape and value.shape[0] == 0:
            raise ValueError(EMPTY)
        # Checked here, where an error is cheap: within a traced step it would cost the model
        # its weights on JAX.
        shape = specs[name].label_shape(value.shape, outputs[name].shape)
        labels[name] = _reshape(value, shape)
    return labels


def _known_length(data):
    if hasattr(data, "cardinality"):
        return int(data.cardinality())
    return data.num_batches if isinstance(data, keras.utils.PyDataset) else None


def _reshape(value, shape):
    if len(shape) == len(value.shape):
        return value
    return np.reshape(value, shape) if isinstance(value, np.ndarray) else ops.reshape(value, shape)


def _float32(labels):
    return np.asarray(labels, "float32")


def _unlabelled(rows, task, output_shape):
    row_shape = output_shape[1:] if task.labels.like_output else output_shape[1:-1]
    if None in row_shape:
        raise ValueError(
            f"Task '{task.name}': labels must be in every batch, the length of its output "
            f"{tuple(output_shape)} is not fixed. Received: a batch without them"
        )
    return np.full((rows, *row_shape), math.nan, "float32")


def _array(value):
    return value if hasattr(value, "shape") else np.asarray(value)


def tensors_of_strings(x: Any) -> Any:
    """`x` with NumPy arrays of strings as TensorFlow tensors, the one form that Keras slices."""
    if keras.backend.backend() != "tensorflow":
        return x

    def convert(value):
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "USO":
            return value
        import tensorflow as tf

        return tf.constant(value)

    return keras.tree.map_structure(convert, x)


def is_stream(x: Any) -> bool:
    """Whether `x` yields batches, rather than being arrays of inputs."""
    return isinstance(x, (keras.utils.PyDataset, Iterator)) or (
        not hasattr(x, "shape") and not isinstance(x, (Mapping, list, tuple)) and _iterable(x)
    )


def _iterable(x):
    return isinstance(x, Iterable) or hasattr(x, "element_spec")


def endless_batches(
    data: Any,
    tasks: Sequence[Task],
    outputs: Mapping[str, Any],
    batch_size: int,
    seed: int | None = None,
) -> Iterator[tuple]:
    """Batches of one structure without an end: the data again and again.

    Args:
        data: arrays `(x, y)` or `(x, y, sample_weight)`, in a new order each time; rows that
            fill no batch wait for another order. Or a stream of batches, in its own order.
        tasks: the tasks of the model.
        outputs: its outputs by task.
        batch_size: rows a batch of arrays.
        seed: of the orders of arrays.

    Raises:
        ValueError: for data of another kind, without rows, or of unequal lengths, and for
            labels that do not fit the tasks; all but the first with the first batch.
    """
    if isinstance(data, (tuple, list)) and 2 <= len(data) <= 3:
        batches = _batches_of_arrays(data, tasks, outputs, batch_size, seed)
    elif is_stream(data):
        batches = _batches_of_stream(data)
    else:
        raise ValueError(
            "Data must be arrays (x, y) or (x, y, sample_weight), or a stream of batches, such as "
            f"a tf.data.Dataset or a PyDataset. Received: {type(data).__name__}"
        )
    return (complete_batch(batch, tasks, outputs) for batch in batches)


def _batches_of_arrays(data, tasks, outputs, batch_size, seed):
    x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(tuple(data))
    labels, weights = complete_arrays(y, sample_weight, tasks, outputs)
    arrays = (x, labels) if weights is None else (x, labels, weights)
    arrays = keras.tree.map_structure(np.asarray, arrays)
    lengths = sorted({len(array) for array in keras.tree.flatten(arrays)})
    if len(lengths) > 1:
        raise ValueError(f"Arrays must be of one length. Received: lengths {lengths}")
    rows, draws = lengths[0], np.random.default_rng(seed)
    size = min(batch_size, rows)
    while True:
        order = draws.permutation(rows)
        for start in range(0, rows - size + 1, size):
            chosen = order[start : start + size]
            yield keras.tree.map_structure(lambda array, chosen=chosen: array[chosen], arrays)


def _batches_of_stream(data):
    while True:
        batch = None
        for batch in _one_pass(data):
            yield batch
        if batch is None:
            raise ValueError(EMPTY)


def _one_pass(data):
    if not isinstance(data, keras.utils.PyDataset):
        yield from data
        return
    data.on_epoch_begin()
    for index in itertools.count() if data.num_batches is None else range(data.num_batches):
        yield data[index]
    data.on_epoch_end()
