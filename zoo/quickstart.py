"""The quickstart: does sharing a trunk help on real data? Trains, compares, exports, serves."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from mtl_keras import MultiTaskModel, Task
from mtl_keras.atomic import atomic_output, check_new
from zoo import datasets, query_saved_model
from zoo.builders import shared_trunk
from zoo.comparison import Comparison, compare
from zoo.progress import FitProgress

TRUNK = (128, 64)
PATIENCE = 2
BATCH = 512


def run(output: str | os.PathLike, seed: int = 0, epochs: int = 8, console: Any = None) -> dict:
    """Trains a two-task model and its single-task baselines, and writes what came out.

    All models have the same trunk and the same budget, stop on their own validation score
    and keep its best epoch. `output` gets `results.json`, `model.keras` and the SavedModel
    `served/`; it appears whole or not at all.

    Args:
        output: new folder.
        seed: seed of initial weights and of the order of the data.
        epochs: epochs at most.
        console: a `rich.console.Console` to print on.

    Raises:
        FileExistsError: when `output` exists.
        OSError: when it cannot be written.
        RuntimeError: when the exported model answers otherwise than the trained one.
    """
    console = console or Console()
    # Before minutes of training, not after.
    check_new(output)
    with atomic_output(output) as folder:
        folder.mkdir()
        # TensorFlow shuffles by its global seed too.
        keras.utils.set_random_seed(seed)
        data = datasets.load("census_income", batch_size=BATCH, seed=seed)
        console.print(repr(data), highlight=False)
        models = _train_all(data, seed, epochs, console)
        comparison = _evaluate(models, data)
        console.print(_table(comparison, models))
        console.print(f"{comparison.verdict} One seed; the interval is over test rows.")
        results = _results(comparison, models, data, seed)
        (folder / "results.json").write_text(json.dumps(results, indent=2) + "\n")
        models["shared trunk"].save(folder / "model.keras")
        models["shared trunk"].export(folder / "served")
        answer = _ask_new_process(models["shared trunk"], folder / "served", data)
        console.print(answer)
    console.print(f"Written to {Path(output).absolute()}", soft_wrap=True, highlight=False)
    return results


def _train_all(data, seed, epochs, console):
    groups = {"shared trunk": data.tasks} | {f"{t.name} alone": [t] for t in data.tasks}
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        return {
            title: _train(title, tasks, data, seed, epochs, progress)
            for title, tasks in groups.items()
        }


def _train(
    title: str, tasks: Sequence[Task], data: datasets.Dataset, seed: int, epochs: int, progress
) -> MultiTaskModel:
    keras.utils.set_random_seed(seed)
    model = shared_trunk(tasks, data.features, TRUNK)
    names = [task.name for task in tasks]
    train, validation = (_only(names, split) for split in (data.train, data.validation))
    stop = keras.callbacks.EarlyStopping(
        "val_score", mode="max", patience=PATIENCE, restore_best_weights=True
    )
    steps = int(train.cardinality())
    bar = FitProgress(progress, f"{title}", epochs, steps)
    model.fit(train, validation_data=validation, epochs=epochs, verbose=0, callbacks=[stop, bar])
    return model


def _only(names, split):
    return split.map(lambda x, y: (x, {name: y[name] for name in names}))


def _evaluate(models, data) -> Comparison:
    x = data.test.map(lambda x, y: x)
    labels = {
        task.name: np.concatenate([y[task.name].numpy() for _, y in data.test])
        for task in data.tasks
    }
    multi = models["shared trunk"].predict(x, verbose=0)
    single = {t: models[f"{t} alone"].predict(x, verbose=0)[t] for t in labels}
    return compare(labels, *({t: p[t][:, 0] for t in labels} for p in (multi, single)))


def _table(comparison, models):
    parameters = {title: model.count_params() for title, model in models.items()}
    table = Table(title="Test AUC", title_justify="left")
    for column in ("task", "single task", "shared trunk", "change"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for task, alone in comparison.single_task.items():
        shared = comparison.multi_task[task]
        table.add_row(task, f"{alone:.4f}", f"{shared:.4f}", f"{100 * (shared / alone - 1):+.2f} %")
    table.add_section()
    alone = sum(n for title, n in parameters.items() if title != "shared trunk")
    low, high = comparison.interval
    table.add_row(
        "Delta_m (95 %)", "", "", f"{comparison.delta_m:+.2f} % [{low:+.2f}, {high:+.2f}]"
    )
    table.add_row("parameters", f"{alone:,}", f"{parameters['shared trunk']:,}", "")
    return table


def _results(comparison, models, data, seed):
    return {
        "data": {"name": data.name, "source": data.source, "sizes": dict(data.sizes)},
        "seed": seed,
        "trunk": list(TRUNK),
        "epochs": {title: len(model.history.epoch) for title, model in models.items()},
        "parameters": {title: model.count_params() for title, model in models.items()},
        "test_auc": {
            "single task": dict(comparison.single_task),
            "shared trunk": dict(comparison.multi_task),
        },
        "delta_m_percent": comparison.delta_m,
        "delta_m_interval_95": list(comparison.interval),
        "verdict": comparison.verdict,
        "versions": {
            "python": platform.python_version(),
            "keras": keras.__version__,
            "backend": f"{keras.backend.backend()} {_backend_version()}",
        },
    }


def _backend_version():
    return sys.modules[keras.backend.backend()].__version__


def _ask_new_process(model, served, data):
    x, _ = next(iter(data.test))
    row = {name: value[:1] for name, value in x.items()}
    request = {name: _plain(value.numpy()[0]) for name, value in row.items()}
    answer = query_saved_model.ask_new_process(
        served, {name: [value] for name, value in request.items()}
    )
    expected = {t: float(p[0, 0]) for t, p in model.predict(row, verbose=0).items()}
    served = {t: p[0][0] for t, p in answer["outputs"].items()}
    # Not `max`: a NaN must fail.
    same = all(abs(served[t] - expected[t]) <= 1e-5 for t in expected)
    if not same or answer["imported"]:
        raise RuntimeError(
            f"The exported model must answer {expected} without our packages. "
            f"Received: {served}, imported {answer['imported']}"
        )
    who = (
        f"age {request['age']:.0f}, {request['class_worker']}, {request['weeks_worked']:.0f} weeks"
    )
    said = ", ".join(f"{task} {value:.1%}" for task, value in served.items())
    return f"A new process, plain TensorFlow, on one person ({who}): {said}."


def _plain(value):
    return value.decode() if isinstance(value, bytes) else float(value)
