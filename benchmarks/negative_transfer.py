"""Negative transfer and its cures: what a contradictory task does to one that is worth learning.

    python benchmarks/negative_transfer.py [--seeds 10]

Census-Income (embedded sample). The task is income; beside it stands, with ten times its loss
weight, a task that helps, disturbs or contradicts:

- never married: another real task;
- permuted: the labels of income in random order, so that only noise can be learned;
- negated: 1 - income, learned by a head of its own, or by the same head and network, which
  is not told which of the two a row asks for.

Cures: towers of their own that are drawn together (soft sharing), a larger network, and, where
one network serves contradictory rows, telling it the task (FiLM). The table gives the test AUC
of income less that of a single-task network of the same width with the same seed, in points of
AUC (hundredths): mean, 95 % interval of the mean (Student), and range over the seeds.
"""

import argparse
import os
import platform

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import stats

import mtl_keras as mtl
import zoo
from zoo.builders.inputs import encode_inputs
from zoo.comparison import roc_auc

WIDTHS = (4, 64)
EPOCHS = 5
WEIGHT = 10.0
STRENGTHS = (1e-3, 1e-1)
# Of four units that can die, some seeds lose all: that is not what is measured here.
NETWORK = {"activation": "tanh"}


def encoded(data):
    """Each split as the numbers that a trunk reads, and its labels."""
    inputs, features = encode_inputs(dict(data.features))
    preprocessing = keras.Model(inputs, features)
    splits = []
    for split in (data.train, data.test):
        batches = [(preprocessing(x).numpy(), y) for x, y in split]
        labels = {t.name: np.concatenate([y[t.name] for _, y in batches]) for t in data.tasks}
        splits.append((np.concatenate([x for x, _ in batches]), labels))
    return splits


def contrary_labels(kind, labels, rng):
    """Labels of the second task."""
    income = labels["income"]
    kinds = {
        "never married": labels["never_married"],
        "permuted": rng.permutation(income),
        "negated": 1 - income,
    }
    return kinds[kind]


def outputs_auc(splits, seed, width, kind=None, builder=zoo.shared_trunk, **options):
    """Test AUC of income, with the second task as an output of its own, or without one."""
    (x, labels), (x_test, test_labels) = splits
    keras.utils.set_random_seed(seed)
    y = {"income": labels["income"]}
    if kind:
        y["other"] = contrary_labels(kind, labels, np.random.default_rng(seed))
    plain = {"metrics": (), "score": "loss", "direction": "min"}
    tasks = [mtl.BinaryTask(n, weight=WEIGHT if n == "other" else 1.0, **plain) for n in y]
    model = builder(tasks, x.shape[1], [width], **NETWORK, **options)
    model.fit(x, y, batch_size=256, epochs=EPOCHS, verbose=0)
    scores = model.predict(x_test, batch_size=4096, verbose=0)["income"][:, 0]
    return roc_auc(test_labels["income"], scores)


def rows_auc(splits, seed, width, told):
    """Test AUC of income where half of the rows ask for its negation, of one head for both."""
    (x, labels), (x_test, test_labels) = splits
    keras.utils.set_random_seed(seed)
    task = np.random.default_rng(seed).integers(0, 2, len(x))
    y = {"income": np.where(task == 0, labels["income"], 1 - labels["income"])}
    tasks = [mtl.BinaryTask("income", metrics=(), score="loss", direction="min")]
    if told:
        options = {"conditioning": "film", "row_input": "task", "num_row_tasks": 2}
        model = zoo.task_conditioned(tasks, x.shape[1], [width], **NETWORK, **options)
        x = {"features": x, "task": task}
        x_test = {"features": x_test, "task": np.zeros(len(x_test), "int64")}
    else:
        model = zoo.shared_trunk(tasks, x.shape[1], [width], **NETWORK)
    model.fit(x, y, batch_size=256, epochs=EPOCHS, verbose=0)
    scores = model.predict(x_test, batch_size=4096, verbose=0)["income"][:, 0]
    return roc_auc(test_labels["income"], scores)


def cases():
    """By name, what is measured, as functions of (splits, seed, width)."""

    def outputs(**options):
        return lambda *given: outputs_auc(*given, **options)

    found = {f"hard sharing, {kind}": outputs(kind=kind) for kind in ("never married", "permuted")}
    for strength in STRENGTHS:
        # A penalty belongs to one model: each makes its own.
        found[f"soft sharing at {strength:g}, permuted"] = outputs(
            kind="permuted",
            builder=zoo.soft_sharing,
            sharing=mtl.sharing.L2Sharing(strength),
        )
    found["separate towers, permuted"] = outputs(kind="permuted", builder=zoo.single_task)
    found["hard sharing, negated, two heads"] = outputs(kind="negated")
    found["one network for both, negated rows"] = lambda *given: rows_auc(*given, told=False)
    found["one network told the task, negated rows"] = lambda *given: rows_auc(*given, told=True)
    return found


def summary(differences):
    """Mean, 95 % interval of the mean and range, in points of AUC."""
    points = 100 * np.asarray(differences)
    half = stats.sem(points) * stats.t.ppf(0.975, len(points) - 1)
    mean = points.mean()
    return (
        f"{mean:+.2f} [{mean - half:+.2f}, {mean + half:+.2f}] "
        f"({points.min():+.2f} to {points.max():+.2f})"
    )


def main():
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, help="paired seeds, 2 or more")
    seeds = range(parser.parse_args().seeds)
    data = zoo.datasets.load("census_income", batch_size=4096)
    splits = encoded(data)
    alone = {
        (width, seed): outputs_auc(splits, seed, width)
        for width in WIDTHS
        for seed in track(seeds, f"single task, width {width}")
    }
    table = Table("beside income", *(f"width {width}" for width in WIDTHS))
    table.add_row(
        "single task: AUC",
        *(f"{np.mean([alone[width, seed] for seed in seeds]):.4f}" for width in WIDTHS),
    )
    for name, measure in cases().items():
        cells = []
        for width in WIDTHS:
            runs = track(seeds, f"{name}, width {width}")
            cells.append(summary([measure(splits, s, width) - alone[width, s] for s in runs]))
        table.add_row(name, *cells)
    console = Console(width=130)
    console.print(table)
    console.print(
        f"{len(seeds)} paired seeds; {data.sizes['train']} training rows, {EPOCHS} epochs, batch "
        f"256, Adam, loss weight {WEIGHT:g} of the other task. Keras {keras.__version__}, "
        f"{keras.backend.backend()}, Python {platform.python_version()}."
    )


if __name__ == "__main__":
    main()
