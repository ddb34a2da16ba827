"""Batches of a split that is in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from zoo.datasets.columns import Categories, Split
from zoo.datasets.words import Words

if TYPE_CHECKING:
    import tensorflow as tf


def batches_of(
    split: Split, batch_size: int, shuffle_seed: int | None = None, padded: Sequence[str] = ()
) -> tf.data.Dataset:
    """Pairs of a batch's inputs and its labels.

    Row numbers are shuffled and whole batches gathered: far faster than slices row by row.

    Args:
        split: the rows.
        batch_size: rows in a batch.
        shuffle_seed: of the order, anew in each epoch; None for that of the split.
        padded: inputs whose second axis ends with zeros where a row is shorter. Batches are cut to
            their longest row, and with a shuffle rows of about one length come together.
    """
    import tensorflow as tf

    # Data stay in the host's memory, also where there is an accelerator.
    with tf.device("cpu:0"):
        inputs = {name: _gathered(values) for name, values in split.inputs.items()}
        labels = {name: _gathered(values) for name, values in split.labels.items()}
        lengths = tf.constant(_lengths([split.inputs[name] for name in padded], len(split)))

    def gather(rows):
        found = {name: column(rows) for name, column in inputs.items()}
        longest = tf.reduce_max(tf.gather(lengths, rows))
        found |= {name: found[name][:, :longest] for name in padded}
        return found, {name: column(rows) for name, column in labels.items()}

    rows = tf.data.Dataset.range(len(split))
    if shuffle_seed is None:
        return rows.batch(batch_size).map(gather).prefetch(tf.data.AUTOTUNE)
    shuffled = {"seed": shuffle_seed, "reshuffle_each_iteration": True}
    rows = rows.shuffle(len(split), **shuffled)
    if padded:
        many = rows.batch(_SORTED_BATCHES * batch_size)
        rows = many.map(
            lambda rows: tf.gather(rows, tf.argsort(tf.gather(lengths, rows)))
        ).unbatch()
    batches = rows.batch(batch_size)
    if padded:
        count = tf.data.experimental.assert_cardinality(-(-len(split) // batch_size))
        batches = batches.apply(count).shuffle(_SORTED_BATCHES, **shuffled)
    return batches.map(gather).prefetch(tf.data.AUTOTUNE)


# Of molecules, 16 leave a twentieth of the places empty, and each epoch has other batches still.
_SORTED_BATCHES = 16


def _lengths(padded, rows):
    """How long each row is: up to the last place that is not zero in all of its inputs."""
    lengths = np.zeros(rows, np.int64)
    for values in padded:
        there = (values != 0).reshape(*values.shape[:2], -1).any(axis=2)
        places = np.arange(1, there.shape[1] + 1)
        lengths = np.maximum(lengths, (there * places).max(axis=1, initial=0))
    return lengths


def _gathered(column):
    """From row numbers to values of a column."""
    import tensorflow as tf

    if not isinstance(column, Categories):
        values = tf.constant(column.texts if isinstance(column, Words) else column)
        return lambda rows: tf.gather(values, rows)
    codes, words = tf.constant(column.codes), tf.constant(column.values)
    return lambda rows: tf.gather(words, tf.gather(codes, rows))
