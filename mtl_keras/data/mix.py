"""mix: one stream of batches from the data sets of several tasks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mtl_keras.data.endings import filled_up, up_to_the_end
from mtl_keras.data.interleave import (
    counted,
    in_batches,
    interleave,
    occurrences,
    row_bytes,
    sizes_of_reading,
)
from mtl_keras.data.mixture import Mixture
from mtl_keras.data.rows import Rows
from mtl_keras.data.structure import Spec, Structure
from mtl_keras.tasks import Task

if TYPE_CHECKING:
    import tensorflow as tf


def mix(
    datasets: Mapping[str, tf.data.Dataset],
    strategy: Any = "uniform",
    batch_size: int = 32,
    *,
    unit: str = "example",
    stratified: bool = False,
    exhausted: str = "repeat",
    seed: int = 0,
    task_input: str | None = None,
    fill_inputs: bool = False,
    tasks: Sequence[Task] | None = None,
    sizes: Mapping[str, int] | None = None,
) -> tf.data.Dataset:
    """One stream of batches from tasks that each have data of their own.

    All batches have one structure: the inputs, the labels of every task, missing where an
    example is another task's, and, if asked, whose each example is. The stream is endless
    unless `exhausted` says otherwise: give `fit` its `steps_per_epoch`. The same arguments give
    the same stream, and its iterator can be saved by `tf.train.Checkpoint`.

    Args:
        datasets: a name to a `tf.data.Dataset` of single examples, (x, y) or (x, y,
            sample_weight), in the order in which they are to be read: shuffle them before. y
            is the label of the task of that name, or a dict of labels by task; then the name is
            only that of the source. Inputs are alike in all of them, see `fill_inputs`; sample
            weights, one an example, are 1 where a data set has none.
        strategy: "uniform" (default), "round_robin", "proportional", "square_root" or
            "temperature"; a dict of a weight for each data set; or an object: `Temperature`,
            `Annealed`, `Capped`, `UniMax`.
        batch_size: examples in a batch; the last one of a stream that ends may be smaller.
        unit: "example" draws a task for each example, "batch" for each batch.
        stratified: whether each batch holds each task's expected number of examples, rounded
            up or down by chance, in place of independent draws.
        exhausted: what happens when a data set ends: "repeat" begins it again; "stop" ends the
            stream when it is drawn once more; "drop" goes on with the others, so that each
            example comes once, and needs to know all sizes.
        seed: of the draws. The order within a data set is that data set's own.
        task_input: name of a further input, int32 (batch,): the position in `datasets` of each
            example's, for a model that is told the task. Inputs that are one tensor become
            the input "features". Default: none.
        fill_inputs: whether inputs, then dicts, may differ: those that a data set lacks are zeros,
            or empty strings. Default: that is an error.
        tasks: the tasks of the model, when labels mean "missing" by another value than NaN for
            floats and -1 for integers; label names are then checked too.
        sizes: number of examples of data sets that do not know it, such as those that read
            files. Where a data set is read to its end, another number is an error then; a stream
            that repeats only weighs by it.

    Returns:
        A `tf.data.Dataset` of (x, y) or (x, y, sample_weight), y a dict by task. Its attribute
        `mixture`, a `Mixture`, tells the chances and, in `mixture.counts(batches)`, how many
        examples of each data set came.

    Raises:
        ValueError: for data sets that are empty, hold batches, or have inputs or labels that do
            not go together; for labels whose type has no value for "missing"; and as `Mixture`.
        tf.errors.FailedPreconditionError: while the stream is read, for a wrong number in `sizes`.

    Example:

    >>> import tensorflow as tf
    >>> books = tf.data.Dataset.from_tensor_slices((np.zeros((90, 3)), np.ones(90))).shuffle(90)
    >>> dvd = tf.data.Dataset.from_tensor_slices((np.zeros((10, 3)), np.ones(10))).shuffle(10)
    >>> stream = mix({"books": books, "dvd": dvd}, "proportional", batch_size=4, seed=3)
    >>> x, y = next(iter(stream))
    >>> x.shape, y["dvd"].numpy()
    (TensorShape([4, 3]), array([nan,  1., nan, nan]))
    >>> stream.mixture.counts(batches=100)
    {'books': 361, 'dvd': 39}
    """
    import tensorflow as tf

    for name, data in datasets.items() if isinstance(datasets, Mapping) else ():
        if not isinstance(data, tf.data.Dataset):
            raise ValueError(
                f"Data set '{name}' must be a tf.data.Dataset of examples; for arrays there is "
                f"mtl.data.MixedBatches. Received: {type(data).__name__}"
            )
    mixture = Mixture(
        _sizes(datasets, sizes),
        strategy,
        batch_size,
        unit=unit,
        stratified=stratified,
        exhausted=exhausted,
        seed=seed,
    )
    examples = {name: _specs(data) for name, data in datasets.items()}
    structure = Structure(examples, tasks, task_input, fill_inputs)
    if exhausted != "repeat":
        datasets = {name: _of_size(data, sizes, name) for name, data in datasets.items()}
    mixed = _batch_by_batch if unit == "batch" else _example_by_example
    stream = mixed(datasets, mixture, Rows(structure)).prefetch(tf.data.AUTOTUNE)
    stream.mixture = mixture
    return stream


# Maps are synchronous: less work than threads of their own, which tf.data gives them by default.


def _batch_by_batch(datasets, mixture, rows):
    import tensorflow as tf

    repeats, size = mixture.exhausted == "repeat", mixture.batch_size
    sources = []
    for name, data in datasets.items():
        # Rows that are not alike in shape may still be, batch by batch.
        alike = all(_is_fixed(spec) for spec in tf.nest.flatten(data.element_spec))
        chunk = sizes_of_reading(size, len(datasets), data.element_spec)[0] if alike else size
        batches = (
            _in_chunks(data, max(chunk, size), repeats)
            .map(rows.batch_of(name), synchronous=True)
            .prefetch(1)
        )
        sources.append(batches if chunk <= size else batches.rebatch(size))
    draws = _draws(mixture)
    drops = mixture.exhausted == "drop"
    if drops:
        # An iterator that TensorFlow restores forgets which data sets have ended, and would wait
        # for them for ever. Each once more, in vain unless it has more examples than `sizes` says.
        draws = draws.take(mixture.num_draws())
        draws = draws.concatenate(tf.data.Dataset.range(len(datasets)))
    return tf.data.Dataset.choose_from_datasets(sources, draws, stop_on_empty_dataset=not drops)


def _example_by_example(datasets, mixture, rows):
    _check_dense(datasets)
    size, count = mixture.batch_size, len(datasets)
    # With inputs that are filled, rows are as large as the largest and more.
    largest = max((data.element_spec for data in datasets.values()), key=row_bytes)
    chunk, page = sizes_of_reading(size, count, largest)
    repeats = mixture.exhausted == "repeat"
    sources = []
    for name, data in datasets.items():
        chunks = _in_chunks(data, chunk, repeats).map(rows.of(name), synchronous=True)
        sources.append((chunks if repeats else filled_up(chunks, chunk)).prefetch(1))
    draws = _draws(mixture, page)
    if mixture.exhausted == "drop":
        draws = _of_what_is_left(draws, mixture)
    pages = interleave(sources, draws, page, chunk)
    if repeats:
        return (
            pages.map(rows.batch, synchronous=True)
            .prefetch(1)
            .map(in_batches(size), synchronous=True)
            .unbatch()
        )
    complete = pages.map(lambda ids, there, *own: (there, rows.batch(ids, *own)))
    return up_to_the_end(complete, size)


def _in_chunks(data, size, repeats):
    chunks = data.batch(size)
    # What tf.data does for each row costs more than to cut chunks anew.
    return chunks.repeat().rebatch(size, drop_remainder=True) if repeats else chunks


def _is_fixed(spec):
    import tensorflow as tf

    return isinstance(spec, tf.TensorSpec) and spec.shape.is_fully_defined()


def _check_dense(datasets):
    import tensorflow as tf

    for name, data in datasets.items():
        for spec in tf.nest.flatten(data.element_spec):
            if not isinstance(spec, tf.TensorSpec):
                raise ValueError(
                    f"Data set '{name}': single examples must be of dense tensors to be mixed; "
                    f"pad them to one length, or give unit='batch'. Received: {spec}"
                )


def _of_what_is_left(draws, mixture):
    """Draws without those in vain, and when all is used up, of each data set in turn."""
    import tensorflow as tf

    page = draws.element_spec.shape[0]
    sizes = tf.constant(list(mixture.sizes.values()), tf.int64)

    def kept(before, ids):
        there = tf.gather(before, ids) + occurrences(ids) < tf.gather(sizes, ids)
        return before + counted(ids[there], before), ids[there]

    blocks = -(-mixture.num_draws() * mixture.batch_size // page)
    ids = draws.take(blocks).scan(tf.zeros_like(sizes), kept).unbatch()
    # So often that a chunk of each is due: whoever has more examples than `sizes` says is found.
    in_turn = tf.data.Dataset.range(len(mixture.names)).repeat()
    return ids.concatenate(in_turn).batch(page, drop_remainder=True)


def _draws(mixture, *page):
    """The draws one by one, or by the page of so many."""
    import tensorflow as tf

    # Several pages, as it costs about the same, but not more than fit where pages are large.
    rows = math.prod(page)
    batches = max(_DRAWN_AT_ONCE // rows, 1) * rows // mixture.draws.count

    def draws(first):
        ids = mixture.draws(first + tf.range(batches, dtype=tf.int64), tf.experimental.numpy)
        return tf.reshape(ids, [-1, *page])

    return tf.data.Dataset.counter(0, batches).map(draws, synchronous=True).unbatch()


_DRAWN_AT_ONCE = 16_384


def _specs(data):
    import tensorflow as tf

    def spec(leaf):
        shape = getattr(leaf, "shape", None)
        known = shape is not None and shape.rank is not None
        return Spec(tuple(shape) if known else None, leaf.dtype.name)

    return tf.nest.map_structure(spec, data.element_spec)


def _sizes(datasets, given):
    if not isinstance(datasets, Mapping):
        return datasets
    given = dict(given or {})
    unknown = [name for name in given if name not in datasets]
    if unknown:
        raise ValueError(f"`sizes` must name data sets of {list(datasets)}. Received: {unknown}")
    found = {}
    for name, data in datasets.items():
        known = int(data.cardinality())
        found[name] = known if known >= 0 else given.get(name)
        if name in given and given[name] != found[name]:
            raise ValueError(
                f"`sizes` must be right where data sets know their own: '{name}' has {known} "
                f"examples. Received: {given[name]}"
            )
    return found


def _of_size(data, sizes, name):
    import tensorflow as tf

    if name not in (sizes or {}):
        return data
    return data.apply(tf.data.experimental.assert_cardinality(sizes[name]))
