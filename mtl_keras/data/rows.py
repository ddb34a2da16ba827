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
        import tensorflow as tf

        structure = self._structure

        def rows(x, y, *weights):
            labels = by_task(name, y)
            first = next(iter(labels.values()))
            count = first.shape[0] or tf.shape(first)[0]

            def blank(spec):
                return tf.zeros((count, *spec.shape), spec.dtype)

            lacking = {key: blank(spec) for key, spec in structure.lacking[name].items()}
            x = {**x, **lacking} if lacking else x
            filled = self._slots.filled(name, labels, blank)
            return x, filled, *self._weights(weights, count)

        return rows

    def _weights(self, given, count):
        import tensorflow as tf

        return given or ([tf.ones(count)] if self._structure.weighted else [])

    def batch(self, ids: tf.Tensor, x: Any, filled: tuple, *weights: tf.Tensor) -> tuple:
        """What `mix` gives, of rows of any number; `ids` (rows,), the positions of their sets."""
        import tensorflow as tf

        x = with_task_input(x, self._structure.task_input, tf.cast(ids, tf.int32))
        return x, self._slots.labels(filled, ids), *weights

    def batch_of(self, name: str) -> Callable[..., tuple]:
        """What makes a batch of a chunk of examples of the data set `name`."""
        import tensorflow as tf

        position = list(self._structure.labels).index(name)

        def batch(*chunk):
            x, filled, *weights = self.of(name)(*chunk)
            ids = tf.fill(tf.shape(filled[0])[:1], tf.constant(position, tf.int64))
            return self.batch(ids, x, filled, *weights)

        return batch
