"""Which balancing rules are worth using? Census-Income, two tasks, in paired seeds.

    python benchmarks/balancing_census.py [--seeds 10] [--rules upgrad famo ...] [--output FILE]

The quickstart's trunk, batch, epochs and early stopping. Every rule has its default settings and,
for a seed, the same initial weights and the same order of the same rows.
Beside the rules: each task alone with the same trunk, the plain sum, static weights tuned on the
validation rows, and, as a control of what choosing the best of five fits is worth in itself, the
sum from five starts. What is chosen is chosen per seed, by Delta_m on the validation rows.

Delta_m is the mean relative gain in test AUC over the single-task models of the same seed. Brackets
are 95 % t intervals over paired seeds; test rows are the same, their chance is not in it.

Each fit is a line of --output; a run that was interrupted goes on where it stopped.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import stats

import mtl_keras as mtl
import zoo
from mtl_keras.balancing import StaticWeights, available
from zoo.builders.inputs import encode_inputs
from zoo.comparison import roc_auc
from zoo.quickstart import BATCH, PATIENCE, TRUNK

EPOCHS = 8
SPLITS = ("train", "validation", "test")
# income : never married, with sum 2; 1:1 is the sum.
GRID = {"1:4": (0.4, 1.6), "1:2": (2 / 3, 4 / 3), "2:1": (4 / 3, 2 / 3), "4:1": (1.6, 0.4)}
STARTS = 5
# `mean` is the sum to Adam; others are variants of these, or nothing without settings of their own.
RULES = (
    *("uw", "dwa", "rlw", "gls", "imtl_l", "famo", "stch"),
    *("gradnorm", "mgda", "pcgrad", "cagrad", "imtl_g", "nash_mtl", "fairgrad", "aligned_mtl"),
    *("upgrad", "dualproj", "config", "db_mtl", "graddrop", "excess_mtl"),
)
TUNED, RESTARTED = "static weights, tuned", f"sum, best of {STARTS} starts"


def encode(data):
    """Each split as one array (rows, width), encoded once and not in every step, and its labels."""
    encoder = keras.Model(*encode_inputs(data.features))
    arrays = {}
    for split in SPLITS:
        batches = list(getattr(data, split))
        x = np.concatenate([encoder(batch) for batch, _ in batches])
        labels = {t.name: np.concatenate([y[t.name] for _, y in batches]) for t in data.tasks}
        arrays[split] = (tf.constant(x), labels)
    return arrays


class Fits:
    """Fits by name; a network is traced once, and takes the values of a fresh one at each fit."""

    def __init__(self, data, rules):
        self.tasks, self.arrays = list(data.tasks), encode(data)
        self.recipes = {f"{task.name} alone": ([task], None, 0) for task in self.tasks}
        self.recipes["sum"] = (self.tasks, "sum", 0)
        for name, weights in GRID.items():
            self.recipes[f"static {name}"] = (self.tasks, weights, 0)
        for start in range(1, STARTS):
            self.recipes[f"sum, start {start}"] = (self.tasks, "sum", start)
        self.recipes |= {rule: (self.tasks, rule, 0) for rule in rules}
        self.steps = -(-len(self.arrays["train"][0]) // BATCH)
        self._traced = {}

    def fit(self, name, seed):
        """A line of the output."""
        tasks, balancer, start = self.recipes[name]
        # No two starts of any two seeds are the same.
        model = self._fresh(tasks, balancer, seed + 1000 * start)
        model = _with_values(self._traced.setdefault((tuple(tasks), balancer), model), model)
        stop = keras.callbacks.EarlyStopping(
            "val_score", mode="max", patience=PATIENCE, restore_best_weights=True
        )
        clock = Clock()
        model.fit(
            self._batches("train", tasks, seed),
            validation_data=self._batches("validation", tasks),
            epochs=EPOCHS,
            verbose=0,
            callbacks=[stop, clock],
        )
        return {
            "seed": seed,
            "model": name,
            "validation": self._aucs(model, "validation"),
            "test": self._aucs(model, "test"),
            "epochs": len(clock.seconds),
            # The first epoch traces.
            "step_ms": 1000 * min(clock.seconds[1:]) / self.steps,
        }

    def _fresh(self, tasks, balancer, seed):
        keras.utils.set_random_seed(seed)
        if isinstance(balancer, tuple):
            balancer = StaticWeights(balancer)
        width = self.arrays["train"][0].shape[1]
        # XLA would take longer to compile some rules than they train; an epoch is one call.
        options = {"jit_compile": False, "steps_per_execution": self.steps}
        model = zoo.shared_trunk(tasks, width, TRUNK, balancer=balancer, **options)
        model.optimizer.build(model.trainable_variables)
        return model

    def _batches(self, split, tasks, shuffle_seed=None):
        x, labels = self.arrays[split]
        rows, batch = tf.data.Dataset.range(len(x)), 5000
        if shuffle_seed is not None:
            tf.random.set_seed(shuffle_seed)
            rows = rows.shuffle(len(x), seed=shuffle_seed, reshuffle_each_iteration=True)
            batch = BATCH
        gather = _gather(x, {task.name: tf.constant(labels[task.name]) for task in tasks})
        return rows.batch(batch).map(gather).prefetch(2)

    def _aucs(self, model, split):
        x, labels = self.arrays[split]
        scores = model(x, training=False)
        return {name: roc_auc(labels[name], score[:, 0]) for name, score in scores.items()}


def _gather(x, y):
    return lambda rows: (
        tf.gather(x, rows),
        {name: tf.gather(column, rows) for name, column in y.items()},
    )


def _with_values(model, fresh):
    # Weights, what the balancer keeps, what the optimizer keeps.
    sources, targets = ((*m.variables, *m.optimizer.variables) for m in (fresh, model))
    for source, target in zip(sources, targets, strict=True):
        target.assign(source)
    return model


class Clock(keras.callbacks.Callback):
    """Seconds of each epoch's training steps, without its validation."""

    def __init__(self):
        super().__init__()
        self.seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        """The first step begins."""
        self.start, self.running = time.perf_counter(), True

    def on_test_begin(self, logs=None):
        """The last step has ended."""
        if self.running:
            self.seconds.append(time.perf_counter() - self.start)
        self.running = False


class Results:
    """Lines of the output, by model and seed."""

    def __init__(self, lines, seeds, tasks):
        self.lines = {(line["model"], line["seed"]): line for line in lines}
        self.tasks = tasks
        # Those which have every model that any seed has.
        models = {model for model, _ in self.lines}
        self.seeds = [s for s in seeds if all((model, s) in self.lines for model in models)]

    def of(self, name, value):
        """One number a seed, (seeds,)."""
        return np.array([value(self.chosen(name, seed)) for seed in self.seeds])

    def chosen(self, name, seed):
        """The line of a model; of a tuned one, the line that is best on the validation rows."""
        grids = {
            TUNED: [f"static {weights}" for weights in GRID],
            RESTARTED: [f"sum, start {start}" for start in range(1, STARTS)],
        }
        if name not in grids:
            return self.lines[name, seed]
        lines = [self.lines[candidate, seed] for candidate in ("sum", *grids[name])]
        return max(lines, key=lambda line: self.delta_m(line, "validation"))

    def delta_m(self, line, split="test"):
        """Against the single-task models of the same seed, in percent."""
        alone = {t: self.lines[f"{t} alone", line["seed"]][split][t] for t in self.tasks}
        return mtl.delta_m(line[split], alone, dict.fromkeys(self.tasks, "max"))


def interval(values, confidence=0.95):
    """Mean and half the width of its t interval."""
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return values.mean(), error * stats.t.ppf(0.5 + confidence / 2, max(len(values) - 1, 1))


def report(results, rules, console):
    """Prints the table, and what of it is more than chance."""
    names = ("sum", TUNED, RESTARTED, *rules)
    gains = {name: results.of(name, results.delta_m) for name in names}
    families = {info.name: info.family for info in available()}
    titles = ("rule", "family", *results.tasks, "Delta_m, %", "Delta_m less the sum's", "step")
    table = Table(*titles)
    alone = [results.of(f"{t} alone", lambda line, t=t: line["test"][t]) for t in results.tasks]
    table.add_row("single task", "", *(f"{auc.mean():.5f}" for auc in alone), "0", "", "")
    for name, gain in gains.items():
        aucs = [results.of(name, lambda line, t=t: line["test"][t]) for t in results.tasks]
        aucs = [f"{auc.mean():.5f}" for auc in aucs]
        less = "" if name == "sum" else _interval(gain - gains["sum"])
        step = np.median(results.of(name, _step) / results.of("sum", _step))
        step = f"{STARTS} fits" if name in (TUNED, RESTARTED) else f"{step:.2f}"
        table.add_row(name, families.get(name, "loss"), *aucs, _interval(gain), less, step)
    console.print(table)
    picks = [results.chosen(TUNED, seed)["model"] for seed in results.seeds]
    console.print("Tuned:", {pick: picks.count(pick) for pick in sorted(set(picks))})
    for against in ("sum", TUNED):
        pairs = {rule: gains[rule] - gains[against] for rule in rules}
        for confidence, how in ((0.95, "one by one"), (1 - 0.05 / len(rules), "Bonferroni")):
            bounds = {rule: interval(pair, confidence) for rule, pair in pairs.items()}
            better = [rule for rule, (mean, half) in bounds.items() if mean > half]
            worse = [rule for rule, (mean, half) in bounds.items() if mean < -half]
            console.print(f"Against {against}, 95 % {how}: better {better}, worse {worse}")


def _step(line):
    return line["step_ms"]


def _interval(values):
    mean, half = interval(values)
    return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"


def main():
    """Trains what is not in the output yet, prints the table."""
    names = [info.name for info in available() if info.name not in ("static_weights", "sum")]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--rules", nargs="*", choices=names, default=RULES)
    parser.add_argument("--output", type=Path, default=Path("balancing_census.jsonl"))
    options = parser.parse_args()
    data = zoo.datasets.load("census_income", source="embedded", batch_size=5000)
    fits = Fits(data, options.rules)
    lines = _read(options.output)
    done = {(line["model"], line["seed"]) for line in lines}
    todo = [(name, seed) for seed in range(options.seeds) for name in fits.recipes]
    with options.output.open("a") as file:
        for name, seed in track([pair for pair in todo if pair not in done], "training"):
            lines.append(fits.fit(name, seed))
            print(json.dumps(lines[-1]), file=file, flush=True)
    lines = [line for line in lines if line["model"] in fits.recipes]
    results = Results(lines, range(options.seeds), [task.name for task in data.tasks])
    console = Console(width=140)
    report(results, options.rules, console)
    console.print(
        f"{len(results.seeds)} seeds, {data.sizes['test']} test rows; Keras {keras.__version__}, "
        f"TensorFlow {tf.__version__}, Python {platform.python_version()}. `step` is the time of a "
        "training step over the sum's, medians of seeds.",
        highlight=False,
    )


def _read(path):
    if not path.exists():
        return []
    lines = path.read_text().splitlines(keepends=True)
    # A run that was killed may have left half a line.
    whole = [line for line in lines if line.endswith("\n")]
    path.write_text("".join(whole))
    return [json.loads(line) for line in whole]


if __name__ == "__main__":
    main()
