"""Is `gramian="matrix_free"` close to exact, and what does it cost?

    python benchmarks/matrix_free.py [--tasks 2 8 40] [--rules nash_mtl ...] [--seeds 3]

Trains a trunk of 64-32 on regression tasks whose losses weigh 0.1 to 10 (Adam, batch 256), and
one of 128-64 on Census-Income, with the sum, and with each rule from the exact Gramian, from
one product a step, and from the gradients at the representation. Three tables:

- along the first matrix-free run, what the weights of the last two would be beside the exact
  ones, on the same batch: |w - w*| / |w*| of w and w* made to length 1, and the cosine of the two
  updates of the shared variables;
- the mean over tasks of the log of the loss on rows held out: of the exact rule, and paired
  differences from it over seeds of initial weights;
- the seconds of a step beside those of the plain one, in turns (see `train_step.py`), for
  a trunk of 499-512-256, heads of 64, batch 1024.

Needs TensorFlow; all without `jit_compile`.
"""

import argparse
import os
import platform

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import ops
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from train_step import draw, step_seconds

import mtl_keras as mtl
import zoo
from mtl_keras import balancing
from mtl_keras.gradients.task_gradients import TaskGradients

RULES = ("mgda", "nash_mtl", "fairgrad", "dualproj", "cagrad")
WAYS = {
    "exact": {},
    "matrix_free": {"gramian": "matrix_free"},
    "representation": {"scope": "representation"},
}
PROBES = 24


class Regression:
    """K tasks on common features; some are harder than others."""

    def __init__(self, count):
        self.name, self.count, self.epochs = f"regression, K={count}", count, 6
        rng = np.random.default_rng(0)
        x = rng.normal(size=(12288, 50)).astype("float32")
        mixing = rng.normal(size=(50, count)) + rng.normal(size=(50, 1))
        signal = x @ mixing
        y = np.tanh(0.3 * signal) + 0.5 * np.sin(signal) * (np.arange(count) % 3)
        y += 0.1 * rng.normal(size=y.shape)
        self.weights = 10 ** rng.uniform(-1, 1, size=count)
        rows = [
            (x[part], {f"task_{k}": y[part, k].astype("float32") for k in range(count)})
            for part in (slice(8192), slice(8192, None))
        ]
        self.train, self.test = (
            [
                (x[i : i + 256], {name: values[i : i + 256] for name, values in y.items()})
                for i in range(0, len(x), 256)
            ]
            for x, y in rows
        )

    def build(self, **options):
        """A compiled model."""
        tasks = [mtl.RegressionTask(f"task_{k}", weight=w) for k, w in enumerate(self.weights)]
        return zoo.shared_trunk(tasks, (50,), (64, 32), head=[8], jit_compile=False, **options)


class Census:
    """Census-Income, the sample in the package."""

    def __init__(self):
        self.name, self.count, self.epochs = "Census-Income, K=2", 2, 6
        self._data = zoo.datasets.load("census_income")
        self.train, self.test = (
            [keras.tree.map_structure(np.asarray, batch) for batch in split]
            for split in (self._data.train, self._data.test)
        )

    def build(self, **options):
        """A compiled model."""
        tasks, features = self._data.tasks, self._data.features
        return zoo.shared_trunk(tasks, features, jit_compile=False, **options)


def probe(model):
    """A compiled function of a batch: G, then the weights: exact, and by the other two ways."""
    import tensorflow as tf

    step = model._balanced_step

    @tf.function
    def found(x, y):
        gradients = TaskGradients(model, step.graph, x, y, None)
        blocks = gradients.rows()
        gramian = sum(block @ ops.transpose(block) for block in blocks)
        weights = [step._weights(gramian, gradients)]
        for scope in ("shared", "representation"):
            step.scope = scope
            weights.append(step._guessed_weights(gradients, gradients.representations()))
        step.scope = "shared"
        return gramian, weights

    return found


def closeness(gramian, weights):
    """Distance of weights, and cosine of updates, of the last two from the first."""
    exact, *others = (w / np.linalg.norm(w) for w in map(np.asarray, weights))
    length = lambda w: np.sqrt(w @ gramian @ w)  # noqa: E731
    return [
        (np.linalg.norm(w - exact), w @ gramian @ exact / (length(w) * length(exact)))
        for w in others
    ]


def restart(model, start):
    """Initial weights of a seed, and an optimizer as new."""
    model.set_weights(start)
    for variable in model.optimizer.variables:
        if variable is not model.optimizer._learning_rate:
            variable.assign(ops.zeros_like(variable))


def log_loss(model, batches):
    """The mean over tasks of the log of the loss."""
    total, rows = 0.0, 0
    for x, y in batches:
        predicted = model.predict_on_batch(x)
        size = len(next(iter(y.values())))
        total = total + size * np.array(
            [ops.convert_to_numpy(_loss(model, name, y[name], predicted[name])) for name in y]
        )
        rows += size
    return np.log(total / rows).mean()


def _loss(model, name, y, predicted):
    kind = next(task for task in model.tasks if task.name == name)
    predicted = np.reshape(predicted, np.shape(y))
    if isinstance(kind, mtl.RegressionTask):
        return ops.mean((y - predicted) ** 2)
    return ops.mean(ops.binary_crossentropy(y, predicted))


def train(problem, model, start, probed=False):
    """The final loss; and what `closeness` says on the way, (probes, 2, 2)."""
    restart(model, start)
    found, looks = [], probe(model) if probed else None
    steps = problem.epochs * len(problem.train)
    for step in range(steps):
        x, y = problem.train[step % len(problem.train)]
        if probed and step % (steps // PROBES) == steps // PROBES - 1:
            gramian, weights = looks(*keras.tree.map_structure(ops.convert_to_tensor, (x, y)))
            found.append(closeness(np.asarray(gramian), weights))
        model.train_on_batch(x, y)
    return log_loss(model, problem.test), np.array(found)


def runs(problem, rules, seeds, advance):
    """Rows of the first and of the second table."""
    near, final, starts = [], [], []
    for seed in range(seeds):
        keras.utils.set_random_seed(seed)
        model = problem.build()
        starts.append(model.get_weights())
    summed = []
    for start in starts:
        summed.append(train(problem, model, start)[0])
        advance()
    for rule in rules:
        losses = {"sum": np.array(summed)}
        for way, options in WAYS.items():
            model, found = problem.build(balancer=balancing.get(rule), **options), []
            for seed, start in enumerate(starts):
                loss, probes = train(problem, model, start, way == "matrix_free" and seed == 0)
                found.append(loss)
                advance()
                for column, name in enumerate(tuple(WAYS)[1:] if len(probes) else ()):
                    both = map(_quartiles, probes[:, column].T)
                    near.append((problem.name, rule, name, *both))
            losses[way] = np.array(found)
        exact = losses.pop("exact")
        differences = [
            _spread(losses[way] - exact) for way in ("matrix_free", "representation", "sum")
        ]
        final.append((problem.name, rule, _spread(exact), *differences))
    return near, final


def cost(count, rule, steps, advance):
    """A row of the third table."""
    ratios, data = [], draw(499, 1024, count)
    for way in WAYS.values():
        models = []
        for options in ({}, {"balancer": balancing.get(rule), **way}):
            tasks = [
                mtl.BinaryTask(f"task_{k}", metrics=(), score="loss", direction="min")
                for k in range(count)
            ]
            models.append(
                zoo.shared_trunk(tasks, (499,), (512, 256), head=[64], jit_compile=False, **options)
            )
            models[-1].fit(data, steps_per_epoch=2, verbose=0)
        plain, balanced = step_seconds(models, data, steps).T
        ratios.append(_quartiles(balanced / plain))
        advance()
    return (str(count), rule, f"{1000 * np.median(plain):.1f}", *ratios)


def _quartiles(values):
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.3f} ({low:.3f} to {high:.3f})"


def _spread(values):
    return f"{values.mean():+.3f} ({values.min():+.3f} to {values.max():+.3f})"


def main():
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, nargs="+", default=[2, 8, 40])
    parser.add_argument("--rules", nargs="+", default=RULES, choices=RULES)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40, help="pairs of timed steps")
    parser.add_argument("--timed", nargs="*", default=["nash_mtl"], choices=RULES)
    options = parser.parse_args()
    problems = [Regression(count) for count in options.tasks]
    if 2 in options.tasks:
        problems.append(Census())
    near = Table("problem", "rule", "way", "distance of weights (quartiles)", "cosine of updates")
    columns = ("exact: mean log loss (range)", "matrix_free", "representation", "sum")
    final = Table("problem", "rule", *columns, title="paired differences from exact (range)")
    seconds = Table("K", "rule", "plain ms/step", *WAYS, title="step over plain step (quartiles)")
    with Progress() as progress:
        total = len(problems) * options.seeds * (1 + len(WAYS) * len(options.rules))
        total += len(options.tasks) * len(options.timed) * len(WAYS)
        bar = progress.add_task("training", total=total)
        for count in options.tasks:
            for rule in options.timed:
                seconds.add_row(*cost(count, rule, options.steps, lambda: progress.advance(bar)))
        for problem in problems:
            found = runs(problem, options.rules, options.seeds, lambda: progress.advance(bar))
            for table, rows in zip((near, final), found, strict=True):
                for row in rows:
                    table.add_row(*row)
    console = Console(width=140)
    for table in (near, final, *([seconds] if options.timed else [])):
        console.print(table)
    console.print(
        f"Keras {keras.__version__}, {keras.backend.backend()}, Python "
        f"{platform.python_version()}, {os.cpu_count()} cores; {options.seeds} seeds, "
        f"{options.steps} pairs of steps. Quartiles far apart: the machine was too busy to tell."
    )


if __name__ == "__main__":
    main()
