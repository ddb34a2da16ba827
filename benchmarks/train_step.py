"""What a step of `MultiTaskModel.fit` costs over plain Keras with static loss weights.

    python benchmarks/train_step.py [--epochs 15] [--steps 20]

The same network, data, optimizer and loss weights on both sides, in one process. Epochs
alternate between the two (A B B A), after a warm-up; a ratio is that of two neighbouring
epochs. The table gives the median ratio and its quartiles. `metrics` says what is measured
beside the losses: nothing, or the ROC AUC of each task (Keras: 200 thresholds; here 2048 cells).
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

# Inputs, trunk, batch, tasks.
NETWORKS = {
    "499-512-256, batch 1024, K=2": (499, (512, 256), 1024, 2),
    "499-512-256, batch 1024, K=8": (499, (512, 256), 1024, 8),
    "40-128-64, batch 256, K=2": (40, (128, 64), 256, 2),
}


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


def draw(width, batch, count, steps):
    """`steps` batches of noise, in memory."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    x = rng.normal(size=(steps * batch, width)).astype("float32")
    y = {f"task_{i}": (x[:, i] > 0).astype("float32") for i in range(count)}
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(batch).cache().prefetch(2)


def seconds(model, data):
    """Time of one epoch."""
    start = time.perf_counter()
    model.fit(data, verbose=0)
    return time.perf_counter() - start


def compare(ours, plain, data, epochs):
    """Seconds of each of our epochs and of its neighbour."""
    for model in (ours, plain, ours, plain):
        seconds(model, data)
    pairs = []
    for i in range(epochs):
        first, second = (ours, plain) if i % 2 else (plain, ours)
        times = {first: seconds(first, data), second: seconds(second, data)}
        pairs.append((times[ours], times[plain]))
    return np.array(pairs)


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=15, help="pairs of epochs")
    parser.add_argument("--steps", type=int, default=20, help="steps of an epoch")
    options = parser.parse_args()
    table = Table("network", "metrics", "plain ms/step", "ours ms/step", "ratio (quartiles)")
    cases = [(name, with_auc) for name in NETWORKS for with_auc in (False, True)]
    for name, with_auc in track(cases, "measuring"):
        width, trunk, batch, count = NETWORKS[name]
        # Epochs of about a second: what an epoch costs once is not a step's.
        steps = options.steps * (20 if batch < 1000 else 2)
        keras.utils.set_random_seed(0)
        ours, plain = build_pair(width, trunk, count, with_auc)
        times = compare(ours, plain, draw(width, batch, count, steps), options.epochs)
        ratio = np.percentile(times[:, 0] / times[:, 1], [25, 50, 75])
        ms = np.median(times, axis=0) / steps * 1000
        table.add_row(
            name,
            "auc" if with_auc else "none",
            f"{ms[1]:.2f}",
            f"{ms[0]:.2f}",
            f"{ratio[1]:.3f} ({ratio[0]:.3f} to {ratio[2]:.3f})",
        )
    console = Console(width=110)
    console.print(table)
    versions = f"Keras {keras.__version__}, {keras.backend.backend()}"
    machine = f"Python {platform.python_version()}, {os.cpu_count()} cores"
    console.print(
        f"{versions}, {machine}; {options.epochs} pairs of epochs. "
        "Quartiles far apart: the machine was too busy to tell."
    )


if __name__ == "__main__":
    main()
