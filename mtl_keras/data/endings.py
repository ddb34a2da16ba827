"""Endings of streams that are read by the chunk and the page, whole ones to the last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtl_keras.data.interleave import in_batches, no_rows

if TYPE_CHECKING:
    import tensorflow as tf


def filled_up(chunks: tf.data.Dataset, chunk: int) -> tf.data.Dataset:
    """Whole chunks for ever: the last one is filled up with rows that are none.

    Args:
        chunks: structures of tensors, (chunk, ...) each, the last ones of fewer rows.
        chunk: rows in a chunk.

    Returns:
        A data set of (chunk,), whether there is such a row, and the structures.
    """
    import tensorflow as tf

    spec = chunks.element_spec

    def whole(last, rows):
        count = tf.shape(tf.nest.flatten(rows)[0])[0]

        def like_the_last():
            # Of a shape that the specification may leave open.
            return tf.nest.map_structure(tf.zeros_like, last)

        def filled():
            return tf.nest.map_structure(lambda leaf: _filled(leaf, chunk - count), rows)

        rows = tf.cond(count > 0, filled, like_the_last)
        return rows, (tf.range(chunk) < count, *rows)

    after = tf.data.Dataset.from_tensors(no_rows(spec, 0)).repeat()
    return chunks.concatenate(after).scan(no_rows(spec, chunk), whole)


def _filled(leaf, count):
    import tensorflow as tf

    nothing = tf.zeros(tf.concat([[count], tf.shape(leaf)[1:]], 0), leaf.dtype)
    return tf.concat([leaf, nothing], 0)


def up_to_the_end(pages: tf.data.Dataset, size: int) -> tf.data.Dataset:
    """Batches up to the first row that is none, the last one smaller.

    Args:
        pages: pairs of (page,), whether there is such a row, and a structure of tensors,
            (page, ...) each.
        size: rows in a batch.
    """
    import tensorflow as tf

    def cut(goes_on, page):
        there, rows = page
        there = tf.math.cumprod(tf.cast(there, tf.int32)) * tf.cast(goes_on, tf.int32)
        counts = tf.reduce_sum(tf.reshape(there, [-1, size]), axis=1)
        return tf.reduce_all(there > 0), (goes_on, counts, in_batches(size)(*rows))

    pages = pages.scan(True, cut)
    pages = pages.take_while(lambda goes_on, counts, rows: goes_on).prefetch(1)
    batches = pages.map(lambda goes_on, counts, rows: (counts, rows)).unbatch()
    batches = batches.filter(lambda count, rows: count > 0)
    return batches.map(lambda count, rows: tf.nest.map_structure(lambda leaf: leaf[:count], rows))
