"""What a bank of experts costs, forward and backward.

    python benchmarks/experts.py [--repeats 30] [--only dense|sparse]

Dense: `Experts` with one gate's mixture, against (a) a loop of `Dense` layers, stacked and
mixed, which is how most libraries write it, and (b) one matrix product of equal FLOPs, which is
the floor. Sparse: `MixtureOfExperts` with a `TopKGate` (k = 2, capacity factor 1.25), chosen
experts alone against all of them. In 499, batch 1024, TensorFlow graph and XLA.

All sides run in turns within one process. The table gives median ms, and medians and quartiles
of the ratios of neighbouring runs.
"""

import argparse
import os
import platform
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from rich.console import Console
from rich.progress import track
from rich.table import Table

import mtl_keras as mtl
from mtl_keras.layers import mixture_of_experts

BATCH, WIDTH = 1024, 499


class Loop(keras.layers.Layer):
    """(a): a `Dense` layer an expert, as in DeepCTR."""

    def __init__(self, count, units):
        super().__init__()
        self.experts = [keras.layers.Dense(units, activation="relu") for _ in range(count)]
        self.gate = keras.layers.Dense(count, use_bias=False, activation="softmax")

    def call(self, x):
        """The mixture."""
        outputs = ops.stack([expert(x) for expert in self.experts], axis=1)
        return ops.sum(outputs * ops.expand_dims(self.gate(x), -1), axis=1)


def dense_sides(count, units):
    """Ours, the loop, and the one product."""
    ours = mtl.layers.MixtureOfExperts(mtl.layers.Experts(count, units))
    floor = keras.layers.Dense(count * units, activation="relu")
    return {"ours": ours, "loop": Loop(count, units), "product": floor}


def sparse_sides(count, units):
    """The same mixture, with chosen experts alone and with all of them."""
    gate = mtl.layers.TopKGate(k=2, capacity_factor=1.25)
    pattern = mtl.layers.Experts(count, units)
    sides = {"chosen": mtl.layers.MixtureOfExperts(pattern, gate, name="chosen")}
    sides["all"] = mtl.layers.MixtureOfExperts(pattern, gate, name="all")
    return sides


def step_of(layer, x, jit, skip=None):
    """A compiled function of the gradient of the sum of squares by features and weights."""
    layer(x)

    @tf.function(jit_compile=jit)
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(layer(x, training=True)))
        return tape.gradient(loss, [x, *(v.value for v in layer.trainable_variables)])

    pays = mixture_of_experts.pays
    if skip is not None:
        # Both ways at every size, to see where one overtakes the other.
        mixture_of_experts.pays = lambda *_: skip
    for _ in range(3):
        step(x)
    mixture_of_experts.pays = pays
    return step


def seconds(step, x):
    """Time of one run."""
    start = time.perf_counter()
    step(x)[0].numpy()
    return time.perf_counter() - start


def in_turns(steps, x, repeats):
    """Seconds of each side's runs, which alternate."""
    times = {name: [] for name in steps}
    for repeat in range(repeats):
        order = list(steps) if repeat % 2 else list(steps)[::-1]
        for name in order:
            times[name].append(seconds(steps[name], x))
    return {name: np.array(values) for name, values in times.items()}


def ratio(first, second):
    """Median of the ratios, with quartiles."""
    low, middle, high = np.percentile(first / second, [25, 50, 75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def measure(kind, count, units, jit, repeats):
    """A row of the table."""
    keras.utils.set_random_seed(0)
    x = tf.constant(np.random.default_rng(0).normal(size=(BATCH, WIDTH)), "float32")
    sides = dense_sides(count, units) if kind == "dense" else sparse_sides(count, units)
    skip = {"chosen": True, "all": False}
    steps = {name: step_of(side, x, jit, skip.get(name)) for name, side in sides.items()}
    times = in_turns(steps, x, repeats)
    ms = [f"{np.median(values) * 1000:.1f}" for values in times.values()]
    if kind == "dense":
        ratios = ratio(times["ours"], times["product"]), ratio(times["loop"], times["ours"])
    else:
        ratios = (ratio(times["chosen"], times["all"]),)
    return (str(count), str(units), "XLA" if jit else "graph", *ms, *ratios)


def main():
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30, help="runs of each side")
    parser.add_argument("--only", choices=["dense", "sparse"], help="one table of the two")
    options = parser.parse_args()
    columns = {
        "dense": ("ours ms", "loop ms", "product ms", "ours / product", "loop / ours"),
        "sparse": ("chosen ms", "all ms", "chosen / all"),
    }
    sizes = {"dense": (4, 8, 32), "sparse": (4, 8, 16, 32)}
    console = Console(width=120)
    for kind in [options.only] if options.only else list(columns):
        table = Table("experts", "units", "mode", *columns[kind], title=kind)
        cases = [(n, u, j) for n in sizes[kind] for u in (64, 256) for j in (False, True)]
        for case in track(cases, f"measuring {kind}"):
            table.add_row(*measure(kind, *case, options.repeats))
        console.print(table)
    console.print(
        f"Keras {keras.__version__}, TensorFlow {tf.__version__}, "
        f"Python {platform.python_version()}, {os.cpu_count()} cores; in {WIDTH}, "
        f"batch {BATCH}, {options.repeats} runs of each side."
    )


if __name__ == "__main__":
    main()
