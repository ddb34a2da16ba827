"""What a step of `MultiTaskModel.fit` costs over plain Keras with static loss weights.

    python benchmarks/train_step.py [--steps 400]

The same network, data, optimizer and loss weights on both sides, in one process. The two fits
run in two threads of which only one moves at a time: after each step the other has its turn, so
that whatever else the machine does meets both alike. A step is all of it: data, compiled step,
logs, callbacks. The table gives the ratio of the median steps and the quartiles of the ratios of
neighbouring steps, and what a whole epoch costs more beside its steps. `fits` is the ratio of whole
fits in turns, with no callback but those that either side adds itself: what a user waits for where
Keras does not wait for a step before the next (JAX; `KERAS_BACKEND=jax`). `metrics` says what is
measured beside the losses: nothing, or the ROC AUC of each task (Keras: 200 thresholds; here
2048 cells).
"""

import argparse
import os
import platform
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import mtl_keras as mtl
import zoo

# Inputs, trunk, batch, tasks.
NETWORKS = {
    "499-512-256, batch 1024, K=2": (499, (512, 256), 1024, 2),
    "499-512-256, batch 1024, K=8": (499, (512, 256), 1024, 8),
    "40-128-64, batch 256, K=2": (40, (128, 64), 256, 2),
}

# How many times as many steps of the small network.
SMALL = 20


def build_pair(width, trunk, count, with_auc):
    """Our model and a plain Keras model of the same layers."""
    options = {} if with_auc else {"metrics": (), "score": "loss", "direction": "min"}
    tasks = [mtl.BinaryTask(f"task_{i}", **options) for i in range(count)]
    weights = {task.name: 1.0 + i for i, task in enumerate(tasks)}
    ours = zoo.shared_trunk(tasks, width, trunk, loss_weights=weights)
    plain = keras.models.clone_model(keras.Model(ours.input, ours.output))
    plain.compile(
        "adam",
        loss={task.name: keras.losses.BinaryCrossentropy() for task in tasks},
        loss_weights=weights,
        metrics={t.name: [keras.metrics.AUC(name="auc")] for t in tasks} if with_auc else None,
    )
    return ours, plain


def draw(width, batch, count):
    """Ten batches of noise in memory, over and over."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    x = rng.normal(size=(10 * batch, width)).astype("float32")
    y = {f"task_{i}": (x[:, i] > 0).astype("float32") for i in range(count)}
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch).cache().repeat()
    # With autotuning it takes 0 or 17 ms at the end of a fit to be rid of the iterator, on either
    # side, as a millisecond more or less before that decides.
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)


class Turns(keras.callbacks.Callback):
    """Times each step of a fit, and lets the other fit move between two of them."""

    def __init__(self, mine, other):
        super().__init__()
        self.mine, self.other = mine, other
        self.seconds = []

    def on_train_batch_end(self, batch, logs=None):
        """A step ends where the callbacks of the one before it ended."""
        self.seconds.append(time.perf_counter() - self.start)
        self.other.release()
        self.mine.acquire()
        self.start = time.perf_counter()

    def on_epoch_begin(self, epoch, logs=None):
        """Waits for the first turn."""
        self.mine.acquire()
        self.start = time.perf_counter()

    def on_train_end(self, logs=None):
        """Leaves the turn to the other for good."""
        self.other.release()


def step_seconds(models, data, steps):
    """Seconds of each step of both models, (steps, 2); the first tenth is warm-up."""
    gates = [threading.Semaphore(1), threading.Semaphore(0)]
    turns = [Turns(gates[0], gates[1]), Turns(gates[1], gates[0])]
    arguments = {"steps_per_epoch": steps + steps // 10, "verbose": 0}
    fits = [
        threading.Thread(target=model.fit, args=(data,), kwargs={**arguments, "callbacks": [turn]})
        for model, turn in zip(models, turns, strict=True)
    ]
    for fit in fits:
        fit.start()
    for fit in fits:
        fit.join()
    return np.transpose([turn.seconds for turn in turns])[steps // 10 :]


def fit_seconds(models, data, steps, fits=20):
    """Seconds of whole fits of an epoch of some steps, in turns, (fits, 2)."""
    times = np.empty((fits, 2))
    for fit in range(fits):
        for column in (0, 1) if fit % 2 else (1, 0):
            start = time.perf_counter()
            models[column].fit(data, steps_per_epoch=steps, verbose=0)
            times[fit, column] = time.perf_counter() - start
    return times


def measure(name, with_auc, steps):
    """A row of the table."""
    width, trunk, batch, count = NETWORKS[name]
    keras.utils.set_random_seed(0)
    models, data = build_pair(width, trunk, count, with_auc), draw(width, batch, count)
    for model in models:
        model.fit(data, steps_per_epoch=2, verbose=0)
    times = step_seconds(models, data, steps)
    ours, plain = np.median(times, axis=0)
    epoch = np.median(np.diff(fit_seconds(models, data, 1)[:, ::-1])) - (ours - plain)
    fits = fit_seconds(models, data, steps // 10)
    return (
        name,
        "auc" if with_auc else "none",
        f"{plain * 1000:.2f}",
        f"{ours * 1000:.2f}",
        f"{ours / plain:.3f} ({quartiles(times)})",
        f"{epoch * 1000:.1f}",
        f"{np.median(fits[:, 0] / fits[:, 1]):.3f} ({quartiles(fits)})",
    )


def quartiles(times):
    """Those of the pairs' ratios, in words."""
    low, high = np.percentile(times[:, 0] / times[:, 1], [25, 75])
    return f"{low:.3f} to {high:.3f}"


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=400, help="pairs of steps")
    options = parser.parse_args()
    columns = ("plain ms/step", "ours ms/step", "ratio (quartiles)", "ms/epoch more", "fits")
    table = Table("network", "metrics", *columns)
    cases = [(name, with_auc) for name in NETWORKS for with_auc in (False, True)]
    for name, with_auc in track(cases, "measuring"):
        # Small steps are cheap, and noisier.
        scale = SMALL if NETWORKS[name][2] < 1000 else 1
        table.add_row(*measure(name, with_auc, options.steps * scale))
    console = Console(width=150)
    console.print(table)
    versions = f"Keras {keras.__version__}, {keras.backend.backend()}"
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    console.print(
        f"{versions}, {machine}; {options.steps} pairs of steps, {SMALL} times as many small ones. "
        "Quartiles far apart: the machine was too busy to tell."
    )


if __name__ == "__main__":
    main()
