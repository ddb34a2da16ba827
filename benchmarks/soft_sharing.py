"""What soft sharing adds to a training step: each penalty on a pair of 512-512 towers.

    python benchmarks/soft_sharing.py [--steps 60] [--batch 1024]

The pair without a penalty is the baseline, a row of the table itself. All models train on the
same batches, one step each in turn, so that whatever else the machine does meets them alike. The
ratio is that of the median steps, beside the quartiles of the ratios of steps of one turn.
"""

import argparse
import os
import platform
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import mtl_keras as mtl
import zoo

WIDTH, TOWERS = 499, (512, 512)
EXPENSIVE = ("tucker", "tensor_train")


def penalties():
    """By name, the penalties; the first is the baseline."""
    sharing = mtl.sharing
    found = {
        "no penalty": [],
        "L2, each other": sharing.L2Sharing(1e-4),
        "L2, mean and decay": sharing.L2Sharing(1e-4, to="mean", decay=1e-5),
        "L2, proximal": sharing.L2Sharing(1e-4, proximal=True),
        "group": sharing.GroupSharing(1e-4),
        "cosine": sharing.CosineSharing(1e-4),
        "trace norm, last axis": sharing.TraceNormSharing(1e-4),
        "trace norm, last axis, proximal": sharing.TraceNormSharing(1e-4, proximal=True),
    }
    for kind in EXPENSIVE:
        name = f"trace norm, {kind}"
        found[name] = sharing.TraceNormSharing(1e-4, kind=kind)
        found[f"{name}, every=20"] = sharing.TraceNormSharing(1e-4, kind=kind, every=20)
    return found


def build(penalty):
    """A compiled pair of towers."""
    plain = {"metrics": (), "score": "loss", "direction": "min"}
    tasks = [mtl.BinaryTask(name, **plain) for name in ("first", "second")]
    return zoo.soft_sharing(tasks, WIDTH, TOWERS, sharing=penalty)


def measure(models, batch, steps):
    """Seconds of each step of each model, (steps, models)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch, WIDTH)).astype("float32")
    y = {name: (x[:, i] > 0).astype("float32") for i, name in enumerate(("first", "second"))}
    steppers = [_stepper(model, x, y) for model in models]
    times = np.empty((steps, len(models)))
    for turn in track(range(-3, steps), "measuring"):
        for column, step in enumerate(steppers):
            start = time.perf_counter()
            step()
            if turn >= 0:
                times[turn, column] = time.perf_counter() - start
    return times


def _stepper(model, x, y):
    # The compiled step of `fit` alone: data and callbacks are the same for all.
    model.train_on_batch(x, y)
    if keras.backend.backend() != "tensorflow":
        return lambda: model.train_on_batch(x, y)
    import tensorflow as tf

    data = tf.data.Dataset.from_tensors((x, y)).repeat()
    function, iterator = model.train_function, iter(data)
    return lambda: [float(v) for v in function(iterator)["loss"][None]]


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=60, help="steps of each model")
    parser.add_argument("--batch", type=int, default=1024, help="rows a batch")
    options = parser.parse_args()
    named = penalties()
    times = measure([build(p) for p in named.values()], options.batch, options.steps)
    table = Table("penalty", "ms/step", "ratio", "quartiles")
    # With `every`, most steps are cheap and some are not: their mean counts.
    for name, own in zip(named, times.T, strict=True):
        typical = np.mean if "every" in name else np.median
        low, high = np.percentile(own / times[:, 0], [25, 75])
        ratio = typical(own) / np.median(times[:, 0])
        table.add_row(
            name, f"{1000 * typical(own):.1f}", f"{ratio:.2f}", f"{low:.2f} to {high:.2f}"
        )
    console = Console(width=110)
    console.print(table)
    console.print(
        f"Towers {WIDTH}-512-512, batch {options.batch}, {options.steps} steps of each in turn. "
        f"Keras {keras.__version__}, {keras.backend.backend()}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores. With `every`: mean, not median."
    )


if __name__ == "__main__":
    main()
