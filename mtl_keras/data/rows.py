"""Rows: examples of several data sets on their way into batches of one structure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mtl_keras.data.slots import Slots
from mtl_keras.data.structure import Structure, by_task, with_task_input

if TYPE_CHECKING:
    import tensorflow as tf


class Rows:
    """From chunks of one data set's examples to rows of one structure, and from those to batches.

    Rows are (x, slots), or (x, slots, weights) where there are sample weights; what belongs to a
    batch alone, the labels of all tasks, comes last.

    Args:
        structure: of the data sets.
    """

    def __init__(self, structure: Structure):
        self._structure = structure
        self._slots = Slots(structure)

    def of(self, name: str) -> Callable[..., tuple]:
        """What makes rows of a chunk of examples of the data set `name`."""

        def rows(x, y, *weights):
            count, labels = _counted(name, y)

            def blank(spec):
                return _full(count, spec, 0)

            filled = self._slots.filled(name, labels, blank)
            return self._inputs(name, x, count), filled, *self._weights(weights, count)

        return rows

    def batch(self, ids: tf.Tensor, x: Any, filled: tuple, *weights: tf.Tensor) -> tuple:
        """What `mix` gives, of rows of any number; `ids` (rows,), the positions of their sets."""
        return self._told(x, ids), self._slots.labels(filled, ids), *weights

    def batch_of(self, name: str) -> Callable[..., tuple]:
        """What makes a batch of examples of the data set `name` alone."""
        import tensorflow as tf

        structure = self._structure
        position = list(structure.labels).index(name)
        kinds = {task: kind for own in structure.labels.values() for task, kind in own.items()}

        def batch(x, y, *weights):
            count, labels = _counted(name, y)
            y = {
                task: labels[task] if task in labels else _full(count, kinds[task], value)
                for task, value in structure.missing.items()
            }
            x = self._told(self._inputs(name, x, count), tf.fill([count], position))
            return x, y, *self._weights(weights, count)

        return batch

    def _inputs(self, name, x, count):
        lacking = self._structure.lacking[name]
        if not lacking:
            return x
        return {**x, **{key: _full(count, spec, 0) for key, spec in lacking.items()}}

    def _told(self, x, ids):
        import tensorflow as tf

        return with_task_input(x, self._structure.task_input, tf.cast(ids, tf.int32))

    def _weights(self, given, count):
        import tensorflow as tf

        return given or ([tf.ones(count)] if self._structure.weighted else [])


def _counted(name, y):
    import tensorflow as tf

    labels = by_task(name, y)
    first = next(iter(labels.values()))
    # A number where it is known: what is made of it is then a constant.
    return first.shape[0] or tf.shape(first)[0], labels


def _full(count, spec, value):
    import tensorflow as tf

    value = "" if spec.dtype == "string" else value
    return tf.fill((count, *spec.shape), tf.constant(value, spec.dtype))
