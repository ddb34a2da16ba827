"""Sharing as regularisation: the error of what tasks share, against the number of tasks.

    python benchmarks/more_tasks.py [--seeds 20] [--tasks independent] [--plot more_tasks.png]

Task n is y = w_n . B x + noise, with x ~ N(0, I_32) of its own, 24 examples, fewer than inputs,
and B (2, 32) with orthonormal rows, the same for all tasks. Baxter (1997) gives the risk of a
task as (a + b / N) / m up to constants, for N tasks of m examples, a parameters of its own and b
shared ones: the shared part falls as 1 / N. The network is `zoo.shared_trunk` with a linear trunk
2 wide, trained by `fit` on 1 to 32 tasks. The table gives, as means over seeds with intervals of
95 %:

- subspace: |P_B (I - P_A)|_F^2, the squared sines of the angles between the learned trunk A and B
  (0 to 2); sine: of the largest angle.
- shared risk: what 64 new tasks lose by A in place of B, when fresh least-squares heads see
  4,096 examples of each. Beside it: of the exact least-squares solution, found without a network
  (alternating least squares in NumPy); what theory gives, to first order and for small samples.
- restarts: how often the network was trained anew, because its training error was over 1.1 times
  that of the exact solution: the fewer examples, the more local minima there are.
- task risk: excess test error of the trained tasks (2 is that of an output of 0), and of networks
  of one task each, `zoo.single_task`, on the examples of the first 8 tasks.

With `--tasks independent` the w_n are drawn one by one; by default each two of them are at right
angles, so that no few tasks look alike by chance.
"""

import argparse
import os
import platform
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table
from scipy import stats

import mtl_keras as mtl
import zoo

WIDTH, RANK, EXAMPLES, NOISE = 32, 2, 24, 0.5
COUNTS = (1, 2, 4, 8, 16, 32)
# Slopes are fitted where examples outnumber parameters clearly: 192 to 76 and more.
FITTED = (8, 16, 32)
ALONE = 8
STEPS, STEPS_A_CALL, LEARNING_RATE = 1000, 100, 0.02
ATTEMPTS = 5
NEW_TASKS, NEW_EXAMPLES = 64, 4096


class Environment:
    """A representation, and tasks that use it, with training examples of their own."""

    def __init__(self, seed, independent):
        self.rng = np.random.default_rng(seed)
        self.shared = np.linalg.qr(self.rng.normal(size=(WIDTH, RANK)))[0].T
        self.heads = self.draw_heads(max(COUNTS), independent)
        self.x = self.rng.normal(size=(max(COUNTS), EXAMPLES, WIDTH))
        self.y = np.einsum("nmd,nd->nm", self.x, self.heads @ self.shared)
        self.y += NOISE * self.rng.normal(size=self.y.shape)
        self.new_heads = self.draw_heads(NEW_TASKS, independent=True)
        self.new_x = self.rng.normal(size=(NEW_EXAMPLES, WIDTH))
        self.new_signal = self.new_x @ self.shared.T @ self.new_heads.T
        self.new_y = self.new_signal + NOISE * self.rng.normal(size=self.new_signal.shape)

    def draw_heads(self, count, independent):
        """(count, RANK), each of length sqrt(RANK)."""
        draws = self.rng.normal(size=(count // RANK, RANK, RANK))
        heads = draws if independent else np.linalg.qr(draws)[0]
        heads = heads.reshape(count, RANK)
        return heads * np.sqrt(RANK) / np.linalg.norm(heads, axis=1, keepdims=True)

    def subspace_error(self, trunk):
        """Squared sines of the angles between `trunk` (RANK, WIDTH) and B: sum, and largest."""
        basis = np.linalg.qr(trunk.T)[0]
        cosines = np.linalg.svd(self.shared @ basis, compute_uv=False)
        squares = 1 - np.minimum(cosines, 1) ** 2
        return squares.sum(), np.sqrt(squares.max())

    def shared_risk(self, trunk):
        """What new tasks lose by reading `trunk` in place of B."""
        return self._risk_on(trunk) - self._risk_on(self.shared)

    def _risk_on(self, trunk):
        # The expectation over test inputs is exact: they are standard normal.
        heads = np.linalg.lstsq(self.new_x @ trunk.T, self.new_y, rcond=None)[0].T
        return np.mean(np.sum((heads @ trunk - self.new_heads @ self.shared) ** 2, axis=1))

    def training_error(self, weights):
        """Mean squared error of `weights` (N, WIDTH) on the examples of the first N tasks."""
        count = len(weights)
        predicted = np.einsum("nmd,nd->nm", self.x[:count], weights)
        return np.mean((predicted - self.y[:count]) ** 2)

    def task_risk(self, weights):
        """Excess test error of trained tasks with `weights` (N, WIDTH), their mean."""
        truth = self.heads[: len(weights)] @ self.shared
        return np.mean(np.sum((weights - truth) ** 2, axis=1))

    def first_order(self, count):
        """Large-sample error of the subspace: NOISE^2 (d - k) tr((W'W)^-1) / (m - k).

        Of the m examples of a task k are spent on its head. NaN for fewer tasks than k.
        """
        if count < RANK:
            return np.nan
        gramian = self.heads[:count].T @ self.heads[:count]
        return NOISE**2 * (WIDTH - RANK) * np.trace(np.linalg.inv(gramian)) / (EXAMPLES - RANK)

    def small_sample(self, count):
        """The same with the factor q / (q - p - 1) of regression on p normal inputs, q rows."""
        p, q = RANK * (WIDTH - RANK), count * (EXAMPLES - RANK)
        return self.first_order(count) * q / (q - p - 1) if q > p + 1 else np.nan


def trained(builder, environment, count, seed):
    """The model, trained on the first `count` tasks until it no longer moves."""
    keras.utils.set_random_seed(seed)
    tasks = [mtl.RegressionTask(f"task_{n}", metrics=(), score="loss") for n in range(count)]
    schedule = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, STEPS)
    model = builder(
        tasks,
        WIDTH,
        keras.layers.Dense(RANK, use_bias=False, name="trunk"),
        head=keras.layers.Dense(1, use_bias=False),
        optimizer=keras.optimizers.Adam(schedule),
        steps_per_execution=STEPS_A_CALL,
    )
    # A row belongs to one task; the others have no label for it.
    labels = np.full((count, EXAMPLES, count), np.nan, "float32")
    for n in range(count):
        labels[n, :, n] = environment.y[n]
    labels = labels.reshape(-1, count)
    x = environment.x[:count].reshape(-1, WIDTH).astype("float32")
    y = {task.name: labels[:, n] for n, task in enumerate(tasks)}
    data = tf.data.Dataset.from_tensors((x, y)).repeat()
    model.fit(data, steps_per_epoch=STEPS, verbose=0)
    return model


def linear_weights(model, count):
    """(count, WIDTH): a linear network's outputs for the rows of a unit matrix."""
    outputs = model.predict(np.eye(WIDTH, dtype="float32"), verbose=0)
    return np.stack([outputs[f"task_{n}"][:, 0] for n in range(count)])


def best_heads(trunk, x, y):
    """(N, RANK): of each task, the least-squares head on `trunk`."""
    return np.stack(
        [np.linalg.lstsq(a @ trunk.T, b, rcond=None)[0] for a, b in zip(x, y, strict=True)]
    )


def exact_solution(environment, count, rounds=2000):
    """The least-squares trunk (RANK, WIDTH), and its training error.

    It alternates between heads and trunk, and starts at the leading directions of the moments
    sum y x, a task each.
    """
    x, y = environment.x[:count], environment.y[:count]
    moments = np.einsum("nmd,nm->nd", x, y)
    trunk = np.linalg.svd(moments, full_matrices=True)[2][:RANK]
    for _ in range(rounds):
        features, heads = x @ trunk.T, best_heads(trunk, x, y)
        design = np.einsum("nk,nmd->nmkd", heads, x).reshape(-1, RANK * WIDTH)
        before = trunk
        # The change of the least norm: where examples leave a direction open, it stays.
        change = np.linalg.lstsq(design, (y - np.einsum("nmk,nk->nm", features, heads)).ravel())[0]
        trunk = np.linalg.qr((trunk + change.reshape(RANK, WIDTH)).T)[0].T
        if np.linalg.norm(trunk - trunk @ before.T @ before) < 1e-7:
            break
    return trunk, environment.training_error(best_heads(trunk, x, y) @ trunk)


def measured(seed, independent, advance):
    """By name, the measures of one seed, one a number of tasks."""
    environment = Environment(seed, independent)
    results = {}
    alone = trained(zoo.single_task, environment, ALONE, seed)
    single_risk = environment.task_risk(linear_weights(alone, ALONE))
    advance()
    for count in COUNTS:
        reference, lowest = exact_solution(environment, count)
        # Some draws end in a local minimum; the training error tells, without a look at B.
        for attempt in range(ATTEMPTS):
            model = trained(zoo.shared_trunk, environment, count, seed + 1000 * attempt)
            weights = linear_weights(model, count)
            if environment.training_error(weights) < 1.1 * lowest + 0.01:
                break
        trunk = model.get_layer("trunk").get_weights()[0].T
        subspace, sine = environment.subspace_error(trunk)
        row = {
            "subspace": subspace,
            "sine": sine,
            "shared risk": environment.shared_risk(trunk),
            "exact solution": environment.shared_risk(reference),
            "first order": environment.first_order(count),
            "small sample": environment.small_sample(count),
            "task risk": environment.task_risk(weights),
            "single task": single_risk,
            "restarts": attempt,
        }
        for name, value in row.items():
            results.setdefault(name, []).append(value)
        keras.backend.clear_session()
        advance()
    return {name: np.array(values) for name, values in results.items()}


def slopes(values, counts, offset=0.0):
    """Of each seed (row), the slope of log values over log(N - offset)."""
    columns = [COUNTS.index(n) for n in counts]
    x = np.log(np.array(counts) - offset)
    return np.polyfit(x, np.log(values[:, columns]).T, 1)[0]


def interval(values, digits=3):
    """Mean and half the width of its interval of 95 %, over the first axis."""
    half = stats.sem(values) * stats.t.ppf(0.975, len(values) - 1)
    return f"{np.mean(values):.{digits}f} ± {half:.{digits}f}"


def error_table(results):
    """A row a number of tasks."""
    table = Table("tasks", *results, title="error of the shared part, and of the tasks")
    for column, count in enumerate(COUNTS):
        cells = [values[:, column] for values in results.values()]
        theory = [name in ("first order", "small sample") for name in results]
        table.add_row(
            str(count),
            *(
                ("-" if np.isnan(c).all() else f"{c.mean():.3f}") if t else interval(c)
                for c, t in zip(cells, theory, strict=True)
            ),
        )
    return table


def slope_table(results):
    """A row a measure."""
    offset = RANK * (WIDTH - RANK) / (EXAMPLES - RANK)
    table = Table("slope", "8 to 32 tasks", "16 to 32 tasks", f"8 to 32, against N - {offset:.1f}")
    for name in ("subspace", "shared risk", "exact solution", "first order", "small sample"):
        values = results[name]
        fits = slopes(values, FITTED), slopes(values, FITTED[1:]), slopes(values, FITTED, offset)
        table.add_row(name, *(interval(fit, 2) for fit in fits))
    return table


def draw(results, path):
    """The shared risk over the number of tasks, on log axes."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import NullFormatter, ScalarFormatter
    except ImportError as error:
        raise SystemExit("--plot needs Matplotlib: pip install 'mtl-keras[bench]'") from error
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    risk = results["shared risk"]
    half = stats.sem(risk) * stats.t.ppf(0.975, len(risk) - 1)
    axes.errorbar(COUNTS, risk.mean(0), half, fmt="o", capsize=3, label="shared_trunk")
    axes.plot(COUNTS, results["exact solution"].mean(0), "x", ms=9, label="least squares, exact")
    axes.plot(COUNTS, results["single task"].mean(0), ":", c="gray", label="single task: all risk")
    axes.plot(COUNTS, results["first order"].mean(0), "--", label="theory, first order: slope -1")
    axes.plot(COUNTS, results["small sample"].mean(0), "-", lw=1, label="theory, small samples")
    fit = slopes(risk, FITTED)
    line = np.exp(np.log(risk[:, -len(FITTED) :]).mean())
    middle = np.exp(np.log(FITTED).mean())
    axes.plot(
        FITTED,
        line * (np.array(FITTED) / middle) ** fit.mean(),
        lw=3,
        alpha=0.4,
        label=f"fitted slope {interval(fit, 2)}",
    )
    axes.set_xticks(COUNTS)
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"number of tasks, {EXAMPLES} examples each")
    axes.set_ylabel("risk due to the shared part")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


def main():
    """Prints the tables, and draws."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20, help="two or more")
    parser.add_argument("--tasks", choices=["balanced", "independent"], default="balanced")
    parser.add_argument("--plot", type=Path, help="a .png or .svg file")
    options = parser.parse_args()
    by_seed = []
    columns = *Progress.get_default_columns()[:-1], MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns) as progress:
        bar = progress.add_task("training", total=options.seeds * (1 + len(COUNTS)))
        for seed in range(options.seeds):
            independent = options.tasks == "independent"
            by_seed.append(measured(seed, independent, lambda: progress.advance(bar)))
    results = {name: np.stack([seed[name] for seed in by_seed]) for name in by_seed[0]}
    console = Console(width=140)
    console.print(error_table(results))
    console.print(slope_table(results))
    console.print(
        f"Tasks {options.tasks}; inputs {WIDTH}, trunk {RANK} wide, {EXAMPLES} examples a task, "
        f"noise {NOISE}; mean ± half of the 95 % interval over {options.seeds} seeds. "
        f"Keras {keras.__version__}, TensorFlow {tf.__version__}, NumPy {np.__version__}, "
        f"Python {platform.python_version()}."
    )
    if options.plot:
        draw(results, options.plot)


if __name__ == "__main__":
    main()
