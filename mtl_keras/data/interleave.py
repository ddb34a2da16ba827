"""Interleave: rows of several streams in a drawn order, moved by the page and not one by one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


def interleave(
    sources: Sequence[tf.data.Dataset], pages: tf.data.Dataset, page: int, chunk: int
) -> tf.data.Dataset:
    """Pages of rows: the i-th row of a page is the next one of the source that it is drawn from.

    What tf.data does for each row costs more than copying it. So sources are read by the chunk,
    each when its first row is near, into a pool of rows that wait; of the pool and the chunks
    that came, the rows of a page are gathered at once. As many rows come as go, so the pool
    stays as large as a page.

    Args:
        sources: endless data sets of chunks: structures of tensors, (chunk, ...) each.
        pages: what is drawn: vectors of positions in `sources`, (page,) each.
        page: rows in a page, a multiple of `chunk` and as many as a chunk of each source or more.
        chunk: rows in a chunk.

    Returns:
        A data set of the pages' draws and structures of tensors, (page, ...) each.
    """
    import tensorflow as tf

    waiting = tf.zeros([0], tf.int64), no_rows(sources[0].element_spec, 0)
    numbers = [tf.data.Dataset.from_tensors(np.int64(k)).repeat() for k in range(len(sources))]
    numbered = [tf.data.Dataset.zip(pair) for pair in zip(numbers, sources, strict=True)]
    due = _chunks_due(pages, len(sources), chunk)
    chunks = tf.data.Dataset.choose_from_datasets(numbered, due, stop_on_empty_dataset=True)
    # The first chunks fill the pool, before anything is drawn.
    drawn = tf.data.Dataset.from_tensors(tf.zeros([0], tf.int64)).concatenate(pages)
    come = chunks.batch(page // chunk, drop_remainder=True)
    return tf.data.Dataset.zip((drawn, come)).scan(waiting, _exchanged).skip(1)


def _exchanged(waiting, drawn_and_come):
    """What waits then, and the rows of the page."""
    import tensorflow as tf

    (owners, rows), (drawn, (owners_come, come)) = waiting, drawn_and_come
    rows = tf.nest.map_structure(_appended, rows, come)
    chunk = tf.shape(tf.nest.flatten(come)[0])[1]
    owners = tf.concat([owners, tf.repeat(owners_come, chunk)], 0)
    taken, left = places(drawn, owners)

    def gathered(places):
        return tf.nest.map_structure(lambda column: tf.gather(column, places), rows)

    return (tf.gather(owners, left), gathered(left)), (drawn, *gathered(taken))


def _appended(waiting, come):
    import tensorflow as tf

    shape = tf.shape(come)
    come = tf.reshape(come, tf.concat([[shape[0] * shape[1]], shape[2:]], 0))
    # No rows at first, and then of a shape that may not have been known.
    waiting = tf.reshape(waiting, tf.concat([tf.shape(waiting)[:1], shape[2:]], 0))
    return tf.concat([waiting, come], 0)


def no_rows(spec: Any, count: int) -> Any:
    """So many rows that stand for none; where their shape is not known, without entries."""
    import tensorflow as tf

    def none(leaf):
        shape = () if leaf.shape.rank is None else leaf.shape[1:]
        return tf.zeros([count, *(size or 0 for size in shape)], leaf.dtype)

    return tf.nest.map_structure(none, spec)


def _chunks_due(pages, count, chunk):
    """Whose chunks to read, in the order in which their first rows are drawn."""
    import tensorflow as tf

    start = tf.zeros([count], tf.int64)
    return pages.scan(start, lambda before, ids: due(before, ids, chunk)).unbatch()


def due(before: tf.Tensor, ids: tf.Tensor, chunk: int) -> tuple[tf.Tensor, tf.Tensor]:
    """How many rows of each source have been drawn then, and whose chunks the draws open.

    Args:
        before: how many have been drawn of each source.
        ids: what is drawn.
        chunk: rows in a chunk.

    >>> import tensorflow as tf
    >>> after, opened = due(tf.constant([0, 3]), tf.constant([1, 0, 1, 0]), chunk=4)
    >>> after.numpy().tolist(), opened.numpy().tolist()
    ([2, 5], [0, 1])
    """
    import tensorflow as tf

    opens = (tf.gather(before, ids) + occurrences(ids)) % chunk == 0
    return before + counted(ids, before), ids[opens]


def places(ids: tf.Tensor, owners: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Where in a pool the drawn rows lie, first come, first drawn; and the places that are left.

    Args:
        ids: what is drawn.
        owners: whose each row of the pool is.

    >>> import tensorflow as tf
    >>> taken, left = places(tf.constant([1, 0, 1]), tf.constant([0, 0, 1, 1, 1]))
    >>> taken.numpy().tolist(), left.numpy().tolist()
    ([2, 0, 3], [1, 4])
    """
    import tensorflow as tf

    order = tf.argsort(owners, stable=True)
    counts = tf.math.bincount(tf.cast(owners, tf.int32))
    drawn = counted(ids, counts)
    firsts = tf.cumsum(counts, exclusive=True)
    taken = tf.gather(order, tf.gather(firsts, ids) + tf.cast(occurrences(ids), tf.int32))
    stays = tf.range(tf.size(order)) >= tf.gather(firsts + drawn, tf.gather(owners, order))
    return taken, tf.boolean_mask(order, stays)


def occurrences(ids: tf.Tensor) -> tf.Tensor:
    """How often each id came before, within `ids`.

    >>> import tensorflow as tf
    >>> occurrences(tf.constant([2, 0, 2, 2])).numpy().tolist()
    [0, 0, 1, 2]
    """
    import tensorflow as tf

    order = tf.argsort(ids, stable=True)
    firsts = tf.cumsum(tf.math.bincount(tf.cast(ids, tf.int32)), exclusive=True)
    found = tf.math.invert_permutation(order) - tf.gather(firsts, ids)
    return tf.cast(found, ids.dtype)


def counted(ids: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """How often each id comes, of the shape and type of `like`."""
    import tensorflow as tf

    return tf.cast(tf.math.bincount(tf.cast(ids, tf.int32), minlength=tf.size(like)), like.dtype)


def sizes_of_reading(batch_size: int, sources: int, examples: Any) -> tuple[int, int]:
    """Rows in a chunk, which divide a batch, and rows in a page, whole batches.

    Large rows come in small chunks, down to one row; a page has a chunk of each source at least.

    Args:
        batch_size: rows in a batch.
        sources: how many there are.
        examples: `element_spec` of single examples.

    >>> import tensorflow as tf
    >>> sizes_of_reading(32, 20, tf.TensorSpec([64], "float32"))
    (96, 1920)
    >>> sizes_of_reading(32, 20, tf.TensorSpec([224, 224, 3], "float32"))
    (2, 64)
    """
    most = min(_BYTES // row_bytes(examples), max(_ROWS, sources * batch_size)) // sources
    chunk = most // batch_size * batch_size or max(
        rows for rows in range(1, batch_size + 1) if rows <= max(most, 1) and batch_size % rows == 0
    )
    return chunk, -(-sources * chunk // batch_size) * batch_size


_BYTES = 32 << 20
_ROWS = 2048


def row_bytes(examples: Any) -> int:
    """The size of one example of an `element_spec`, about."""
    import tensorflow as tf

    def of(leaf):
        # Of strings and what is not fixed, a guess.
        shape = (None,) if leaf.shape.rank is None else leaf.shape
        return max(leaf.dtype.size, 1) * math.prod(size or 64 for size in shape)

    return sum(of(leaf) for leaf in tf.nest.flatten(examples))


def in_batches(size: int) -> Callable[..., Any]:
    """What makes of a page its batches, (batches, size, ...)."""
    import tensorflow as tf

    def batches(*page):
        def split(rows):
            return tf.reshape(rows, tf.concat([[-1, size], tf.shape(rows)[1:]], 0))

        return tf.nest.map_structure(split, page)

    return batches
