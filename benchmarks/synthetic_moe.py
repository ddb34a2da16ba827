"""When do experts help two tasks? The synthetic study of the MMoE paper.

    python benchmarks/synthetic_moe.py [--seeds 20] [--cache runs.jsonl] [--plot plot.png]

Two regressions y_k = w_k x + sum_i sin(alpha_i w_k x + beta_i) + N(0, .01) of x ~ N(0, I) in 100
dimensions, with w_1 = u_1 and w_2 = p u_1 + sqrt(1 - p^2) u_2 of orthonormal u: p is the
correlation of the tasks (Ma et al. 2018, "Modeling Task Relationships in Multi-task Learning
with Multi-gate Mixture-of-Experts", section 3). The paper leaves the sines open: here two, with
alpha 1 and 2, beta .5 and 1. A shared bottom of 113 units, one gate and two gates over 8 experts
of 16 units; towers of 8 units. 6000 steps of batch 128, each row seen once, Adam, 1e-3.

The measure is the test MSE over the variance of the labels, the mean of both tasks. All models
of a seed see the same rows and are compared pair by pair. Runs that a cache holds are not done
again.
"""

import argparse
import json
import math
import os
import platform
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from scipy import stats

import mtl_keras as mtl
import zoo

WIDTH, BATCH, STEPS, TEST_ROWS = 100, 128, 6000, 20_000
ALPHA, BETA, NOISE = (1.0, 2.0), (0.5, 1.0), 0.1
CORRELATIONS = (0.5, 0.9, 1.0)
TASKS = ("first", "second")
MODELS = ("shared bottom", "one gate", "gate a task")


def built(name):
    """The model of a name, of about equal numbers of parameters."""
    tasks = [mtl.RegressionTask(task, metrics=(), score="loss") for task in TASKS]
    options = {"optimizer": keras.optimizers.Adam(1e-3), "steps_per_execution": 100}
    if name == "shared bottom":
        return zoo.shared_trunk(tasks, WIDTH, trunk=[113], head=[8], **options)
    builder = {
        "one gate": zoo.mixture_of_experts,
        "gate a task": zoo.multi_gate_mixture_of_experts,
    }[name]
    return builder(tasks, WIDTH, experts=8, expert_units=[16], towers=[8], **options)


class Contender:
    """A model that is traced once and starts afresh for every seed."""

    def __init__(self, name):
        self.name, self.model = name, built(name)
        self.model.optimizer.build(self.model.trainable_variables)
        self.optimizer_start = [keras.ops.copy(v) for v in self.model.optimizer.variables]

    def error(self, seed, train, test):
        """Test MSE over variance of each task, after training on batches once."""
        keras.utils.set_random_seed(seed)
        self.model.set_weights(built(self.name).get_weights())
        for variable, start in zip(
            self.model.optimizer.variables, self.optimizer_start, strict=True
        ):
            variable.assign(start)
        self.model.fit(train, verbose=0)
        x, y = test
        outputs = self.model.predict(x, batch_size=2000, verbose=0)
        return [float(np.mean((outputs[t][:, 0] - y[t]) ** 2) / np.var(y[t])) for t in TASKS]


def inputs_of(seed):
    """The rows of a seed for training and test, its two directions, and the tasks' noise."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((STEPS * BATCH + TEST_ROWS, WIDTH), dtype="float32")
    directions, _ = np.linalg.qr(rng.normal(size=(WIDTH, 2)))
    noise = NOISE * rng.standard_normal((2, len(x)), dtype="float32")
    return x, directions.T.astype("float32"), noise


def labels_of(x, directions, noise, correlation):
    """The labels of both tasks."""
    first, second = directions
    mixed = correlation * first + math.sqrt(1 - correlation**2) * second
    labels = {}
    for task, w, own in zip(TASKS, (first, mixed.astype("float32")), noise, strict=True):
        labels[task] = signal(x @ w) + own
    return labels


def signal(z):
    """A label without its noise."""
    return z + sum(np.sin(a * z + b) for a, b in zip(ALPHA, BETA, strict=True))


def noise_floor():
    """The error that no model gets below, in thousandths: noise over variance."""
    clean = np.var(signal(np.random.default_rng(0).standard_normal(1_000_000)))
    return 1000 * NOISE**2 / (clean + NOISE**2)


def data_of(seed):
    """A function of the correlation that gives training batches and test rows of a seed."""
    x, directions, noise = inputs_of(seed)
    split = STEPS * BATCH
    batches = tf.constant(x[:split].reshape(STEPS, BATCH, WIDTH))

    def data(correlation):
        y = labels_of(x, directions, noise, correlation)
        train = {task: values[:split].reshape(STEPS, BATCH, 1) for task, values in y.items()}
        test = {task: values[split:] for task, values in y.items()}
        return tf.data.Dataset.from_tensor_slices((batches, train)), (x[split:], test)

    return data


def run(seeds, cache, console):
    """The errors of the tasks, a dict by correlation, model and seed."""
    done = _read(cache)
    contenders = {}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
    ) as progress:
        bar = progress.add_task("training", total=len(seeds) * len(CORRELATIONS) * len(MODELS))
        for seed in seeds:
            data = None
            for p in CORRELATIONS:
                left = [name for name in MODELS if (p, name, seed) not in done]
                progress.advance(bar, len(MODELS) - len(left))
                data = data or (data_of(seed) if left else None)
                train, test = data(p) if left else (None, None)
                for name in left:
                    progress.update(bar, description=f"seed {seed}, correlation {p}: {name}")
                    if name not in contenders:
                        contenders[name] = Contender(name)
                    done[p, name, seed] = contenders[name].error(seed, train, test)
                    _append(cache, p, name, seed, done[p, name, seed])
                    progress.advance(bar)
    return done


def _read(cache):
    if cache is None or not cache.exists():
        return {}
    rows = map(json.loads, cache.read_text().splitlines())
    return {(row["correlation"], row["model"], row["seed"]): row["error"] for row in rows}


def _append(cache, correlation, name, seed, error):
    if cache is not None:
        row = {"correlation": correlation, "model": name, "seed": seed, "error": error}
        with cache.open("a") as file:
            file.write(json.dumps(row) + "\n")


def by_model(done, seeds, correlation):
    """For each model the errors of the seeds, means over the tasks, in thousandths."""
    return {
        name: np.array([1000 * np.mean(done[correlation, name, seed]) for seed in seeds])
        for name in MODELS
    }


def interval(values):
    """Mean and half the width of its 95 % t interval."""
    error = values.std(ddof=1) / math.sqrt(len(values))
    return values.mean(), error * stats.t.ppf(0.975, len(values) - 1)


def in_words(values):
    """Mean and interval."""
    mean, half = interval(values)
    return f"{mean:.2f} ± {half:.2f}"


def verdict(better, worse):
    """Whether the first is below the second, by the interval of their paired difference."""
    mean, half = interval(better - worse)
    if abs(mean) <= half:
        return "undecided"
    return "yes" if mean < 0 else "no, reversed"


def print_tables(done, seeds, console):
    """Errors, paired differences, and whether the paper's ordering appears."""
    errors = Table("correlation", *MODELS, title="test MSE over variance, in thousandths")
    pairs = [(MODELS[1], MODELS[0]), (MODELS[2], MODELS[1]), (MODELS[2], MODELS[0])]
    columns = [f"{first} - {second}" for first, second in pairs]
    differences = Table("correlation", *columns, title="paired differences, in thousandths")
    ordering = Table("correlation", *[f"{a} < {b}" for a, b in pairs], title="the paper's ordering")
    for p in CORRELATIONS:
        of = by_model(done, seeds, p)
        errors.add_row(str(p), *(in_words(of[name]) for name in MODELS))
        differences.add_row(str(p), *(in_words(of[a] - of[b]) for a, b in pairs))
        counts = [f"{np.sum(of[a] < of[b])} of {len(seeds)} seeds" for a, b in pairs]
        verdicts = [verdict(of[a], of[b]) for a, b in pairs]
        ordering.add_row(str(p), *(f"{v}, {n}" for v, n in zip(verdicts, counts, strict=True)))
    for table in (errors, differences, ordering):
        console.print(table)


def plot(done, seeds, path):
    """Each model's error against the correlation, with intervals; the single seeds as dots."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    places = np.arange(len(CORRELATIONS))
    for i, name in enumerate(MODELS):
        values = [by_model(done, seeds, p)[name] for p in CORRELATIONS]
        means, halves = zip(*map(interval, values), strict=True)
        x = places + 0.22 * (i - 1)
        bars = axes.errorbar(x, means, halves, fmt="o", capsize=5, label=name)
        for place, own in zip(x, values, strict=True):
            axes.plot(
                np.full(len(own), place + 0.06), own, ".", color=bars[0].get_color(), alpha=0.35
            )
    axes.set_xticks(places, [str(p) for p in CORRELATIONS])
    axes.set_xlabel("correlation of the two tasks")
    axes.set_ylabel("test MSE / variance, in thousandths")
    axes.axhline(noise_floor(), color="gray", linestyle="--", label="noise alone")
    axes.set_ylim(bottom=0)
    axes.set_title(f"Mean and 95 % interval over {len(seeds)} seeds; dots are seeds")
    axes.legend()
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main():
    """Runs what is left to run, prints the tables, and draws."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="runs of each model, at least 2")
    parser.add_argument("--cache", type=Path, help="file of runs, read and added to")
    parser.add_argument("--plot", help="where to write the plot; needs matplotlib")
    options = parser.parse_args()
    seeds, console = range(options.seeds), Console(width=110)
    done = run(seeds, options.cache, console)
    print_tables(done, seeds, console)
    if options.plot:
        plot(done, seeds, options.plot)
    console.print(
        f"Means with 95 % t intervals over {len(seeds)} paired seeds, {STEPS} steps of {BATCH}, "
        f"{TEST_ROWS} test rows; noise alone leaves {noise_floor():.2f}. "
        f"Keras {keras.__version__}, TensorFlow {tf.__version__}, "
        f"Python {platform.python_version()}."
    )


if __name__ == "__main__":
    main()
