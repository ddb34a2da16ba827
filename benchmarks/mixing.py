"""What mixing data sets costs: a mixed stream against its slowest source read alone.

    python benchmarks/mixing.py [--tasks 8] [--batch 64] [--rounds 15] [--sources numbers]

Sources of three kinds: texts that are split and hashed word by word, images that are decoded from
PNG, and arrays of 64 numbers. Both sides give batches of as many examples, which a compiled loop
takes from the iterator, as `fit` does, a quarter of a second and more at a time, after a tenth of
that to fill what is read ahead. They are read in turn, so that whatever else the machine does meets
them alike; the ratio is the median of the turns' ratios, beside their quartiles. Above 1 the
mixture is the faster one. Arrays are read by `MixedBatches` too, which gathers rows.
"""

import argparse
import os
import platform
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import track
from rich.table import Table

import mtl_keras as mtl

SIZE = 4096
FEWEST = 200
SECONDS = 0.25


def texts(rng, task):
    """Texts of some tasks are longer."""
    words = rng.integers(0, 1000, (SIZE, 20 + 5 * task)).astype(str)
    lines = tf.data.Dataset.from_tensor_slices(([" ".join(row) for row in words], labels(rng)))

    def parsed(line, label):
        ids = tf.strings.to_hash_bucket_fast(tf.strings.split(line), 1000)
        return tf.ensure_shape(tf.pad(ids, [[0, 64 - tf.size(ids)]]), [64]), label

    return lines.map(parsed)


def images(rng, task):
    """28 x 28 pixels, as PNG."""
    pixels = rng.integers(0, 255, (64, 28, 28, 1)).astype("uint8")
    encoded = [tf.io.encode_png(image).numpy() for image in pixels]
    files = tf.data.Dataset.from_tensor_slices((encoded * (SIZE // 64), labels(rng)))

    def decoded(file, label):
        image = tf.ensure_shape(tf.io.decode_png(file, 1), [28, 28, 1])
        return tf.cast(image, "float32") / 255, label

    return files.map(decoded)


def numbers(rng, task):
    """In memory."""
    return tf.data.Dataset.from_tensor_slices(rows(rng))


def rows(rng):
    """Arrays of one task."""
    return rng.normal(size=(SIZE, 64)).astype("float32"), labels(rng)


def labels(rng):
    """A label a row."""
    return rng.integers(0, 2, SIZE).astype("float32")


def alone(source, batch):
    """A source as it would be read without a mixture."""
    return source.repeat().batch(batch).prefetch(tf.data.AUTOTUNE)


class Stream:
    """A data set that is read in a compiled loop, by a new iterator each time."""

    def __init__(self, data):
        self.data = data

        @tf.function(reduce_retracing=True)
        def read(iterator, batches):
            rows = 0
            for _ in tf.range(batches):
                rows += tf.shape(tf.nest.flatten(next(iterator))[-1])[0]
            return rows

        self.read = read

    def begin(self):
        """What reads so many batches, from an iterator that nothing was read ahead for."""
        iterator = iter(self.data)
        return lambda batches: self.read(iterator, tf.constant(batches))


class Arrays:
    """A PyDataset, epoch after epoch."""

    def __init__(self, batches):
        self.batches = batches

    def begin(self):
        """What reads so many batches."""

        def endless():
            while True:
                yield from (self.batches[i] for i in range(len(self.batches)))
                self.batches.on_epoch_end()

        iterator = endless()
        return lambda batches: [next(iterator) for _ in range(batches)]


def rate(source, batches):
    """Batches a second."""
    read = source.begin()
    read(batches // 10)
    start = time.perf_counter()
    read(batches)
    return batches / (time.perf_counter() - start)


def compare(mixture, sources, batch, rounds):
    """Batches a second of the mixture and of the slowest of its sources, (rounds,) each."""
    singles = [Stream(alone(source, batch)) for source in sources]
    rates = [np.median([rate(single, FEWEST) for _ in range(3)]) for single in singles]
    slowest = singles[np.argmin(rates)]
    batches = max(FEWEST, int(min(rates) * SECONDS))
    measured = [[rate(stream, batches) for stream in (mixture, slowest)] for _ in range(rounds)]
    return np.array(measured).T


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=8)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=15)
    # First what a process that did more work would slow down.
    makers = {make.__name__: make for make in (numbers, texts, images)}
    parser.add_argument("--sources", nargs="+", choices=makers, default=list(makers))
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    table = Table(title=f"{args.tasks} sources, batches of {args.batch}, examples a second")
    for column in ("sources", "mixed", "slowest alone", "ratio", "quartiles"):
        table.add_column(column, justify="left" if column == "sources" else "right")
    kinds = [
        (f"{name}, {unit} by {unit}" if unit else f"{name}, MixedBatches", make, unit)
        for name, make in makers.items()
        for unit in (None, "example", "batch")
        if name in args.sources and (unit or make is numbers)
    ]
    for name, make, unit in track(kinds):
        sources = {f"task_{k}": make(rng, k) for k in range(args.tasks)}
        if unit is None:
            arrays = {name: rows(rng) for name in sources}
            mixture = Arrays(mtl.data.MixedBatches(arrays, batch_size=args.batch))
        else:
            mixture = Stream(mtl.data.mix(sources, batch_size=args.batch, unit=unit))
        both = compare(mixture, sources.values(), args.batch, args.rounds)
        mixed, single = both * args.batch
        low, ratio, high = np.percentile(mixed / single, [25, 50, 75])
        table.add_row(
            name,
            f"{np.median(mixed):,.0f}",
            f"{np.median(single):,.0f}",
            f"{ratio:.2f}",
            f"{low:.2f}-{high:.2f}",
        )
    console = Console(width=100)
    console.print(table)
    console.print(
        f"Keras {keras.__version__}, TensorFlow {tf.__version__}, {os.cpu_count()} cores, "
        f"{platform.machine()}, {args.rounds} rounds of {FEWEST} batches or more each"
    )


if __name__ == "__main__":
    main()
