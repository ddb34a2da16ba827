"""Makes the folder of an entry from its recipe: trains what is missing, measures, writes.

    python -m zoo.recipes.publish NAME --data-dir DIR --work DIR
    python -m zoo.recipes.publish NAME --card-only

The second only makes the card anew. The weights are those of the first seed, not of the best.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mtl_keras import MultiTaskModel
from zoo import registry
from zoo.datasets.dataset import Dataset
from zoo.datasets.info import info
from zoo.entries.card import CARD
from zoo.entries.entry import save
from zoo.recipes.evaluation import inputs_of, metric_names
from zoo.recipes.recipe import Recipe
from zoo.recipes.run import Run, loaded
from zoo.recipes.study import find_run, jobs, model_path, study
from zoo.recipes.summary import Summary


def publish(name: str, data_dir: Any, work: str | os.PathLike) -> Path:
    """Writes the files of an entry into the package, beside its recipe.

    Args:
        name: name of the entry.
        data_dir: directory of TensorFlow Datasets.
        work: folder of finished runs, see `zoo.recipes.study`.
    """
    path = registry.recipe_path(name)
    recipe = Recipe.read(path)
    data = loaded(recipe, data_dir)
    check_published(recipe, data)
    study(recipe, data_dir, work, range(recipe.seeds))
    (first,) = (job for job in jobs(recipe, data, 0) if job.role == "entry")
    model = keras.saving.load_model(model_path(work, recipe, first))
    new = path.parent.with_name(f".{name}.new")
    shutil.rmtree(new, ignore_errors=True)
    command = f"python -m zoo.recipes.publish {name} --data-dir DATA --work WORK"
    write_entry(new / name, model, recipe, path, data, summarised(recipe, data, work), command)
    _swap(new, path.parent)
    write_card(name)
    return path.parent


def write_card(name: str) -> None:
    """Makes the card of an entry of the package anew from its manifest."""
    (registry.folder_of(name) / CARD).write_text(registry.card(name), "utf-8")


def check_published(recipe: Recipe, data: Dataset) -> None:
    """Whether there will be figures of ours beside those of others: better known before a study.

    Raises:
        ValueError: for figures of a task or of a metric that the runs do not have.
    """
    known = {task.name: metric_names(task) for task in data.tasks}
    for names in data.row_tasks.values():
        known = {name: metric_names(data.tasks[0]) for name in names}
    known["mean"] = set.intersection(*known.values())
    for other in recipe.published:
        for own, figures in other["figures"].items():
            if not set(figures) <= known.get(own, set()):
                raise ValueError(
                    f"`published` must be figures of {list(known)}, of metrics that they have. "
                    f"Received: {own!r} {sorted(figures)}, metrics {sorted(known.get(own, ()))}"
                )


def write_entry(
    folder: str | os.PathLike,
    model: MultiTaskModel,
    recipe: Recipe,
    recipe_file: Path,
    data: Dataset,
    summary: Summary,
    command: str,
) -> Path:
    """Writes a trained model as an entry, with what its recipe and its runs say of it.

    Args:
        folder: new folder.
        model: the model.
        recipe: what it was trained by.
        recipe_file: where that was read from; its data and epochs may have been changed since.
        data: what it was trained on.
        summary: of its runs.
        command: what was typed.

    Raises:
        FileExistsError, OSError, ValueError: as `zoo.entries.entry.save`.
    """
    about = info(recipe.data["name"], recipe.data.get("variant"))
    content = json.loads(recipe_file.read_text("utf-8"))
    return save(
        model,
        folder,
        example_of(recipe, model, data),
        title=recipe.title,
        data_licence=about.licence,
        weights_licence=recipe.weights_licence,
        recipe=content | {"data": dict(recipe.data), "epochs": recipe.epochs},
        dataset={
            "name": data.name,
            "variant": recipe.data.get("variant"),
            "title": about.title,
            "homepage": about.homepage,
            "sizes": dict(data.sizes),
            "sha256": data.digest(),
        },
        builder={"name": recipe.model.builder, "arguments": dict(recipe.model.arguments)},
        results=summary.results,
        training={
            "command": command,
            "versions": versions(),
            "budgets": {role: recipe.budget(plan) for role, plan in recipe.roles.items()},
            "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        },
        published=list(recipe.published),
        classes={
            task.name: list(about.class_names[task.name])
            for task in model.tasks
            if task.name in about.class_names
        },
        preparing=list(recipe.preparing),
        limits=list(recipe.limits),
    )


def summarised(recipe: Recipe, data: Dataset, work: str | os.PathLike) -> Summary:
    """What the finished runs of all seeds show."""
    runs: dict[str, list[Run]] = {}
    for seed in range(recipe.seeds):
        alone = []
        for job in jobs(recipe, data, seed):
            run = find_run(work, recipe, job)
            if job.role == "single_task":
                alone.append((job, run))
            else:
                runs.setdefault(job.role, []).append(run)
        runs.setdefault("single_task", []).append(_joined(alone))
    return Summary.of_runs(runs, scores(data))


def _joined(alone):
    """The single-task runs of a seed as one run of all tasks."""
    metrics = {}
    for job, run in alone:
        (found,) = run.metrics.values()
        metrics[job.name] = found
    return Run(
        seed=alone[0][0].seed,
        metrics=metrics,
        validation_score=float(np.mean([run.validation_score for _, run in alone])),
        epoch=max(run.epoch for _, run in alone),
        seconds=sum(run.seconds for _, run in alone),
        parameters=sum(run.parameters for _, run in alone),
    )


def scores(data: Dataset) -> dict[str, str]:
    """By task, or by whose the rows are, the metric that scores it and its direction."""
    by_task = {task.name: f"{task.score} {task.direction}" for task in data.tasks}
    for names in data.row_tasks.values():
        (score,) = by_task.values()
        return dict.fromkeys(names, score)
    return by_task


def example_of(recipe: Recipe, model: keras.Model, data: Dataset) -> dict[str, Any]:
    """The golden input: the recipe's, or the first rows of the test split."""
    if recipe.example:
        return {name: _made(values) for name, values in recipe.example.items()}
    x, _ = next(iter(data.test))
    return {name: values.numpy() for name, values in inputs_of(model, x).items()}


def _made(values):
    if isinstance(values, dict):
        # Noise where a real row shall not be in the package.
        return np.random.default_rng(0).integers(0, values["below"], values["noise"])
    return np.array(values, object if isinstance(values[0], str) else None)


def versions() -> dict[str, str]:
    """Versions of what a training depends on."""
    backend = keras.backend.backend()
    return {
        "mtl-keras": importlib.metadata.version("mtl-keras"),
        "keras": keras.__version__,
        backend: sys.modules[backend].__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def _swap(new, folder):
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    os.replace(folder, old)
    os.replace(new / folder.name, folder)
    shutil.rmtree(old)
    new.rmdir()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--data-dir", help="directory of TensorFlow Datasets")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--work", help="folder of finished runs")
    what.add_argument("--card-only", action="store_true", help="from the manifest that is there")
    options = parser.parse_args()
    if options.card_only:
        write_card(options.name)
    else:
        print(publish(options.name, options.data_dir, options.work))


if __name__ == "__main__":
    main()
