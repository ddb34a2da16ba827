"""All runs of a recipe: every seed of the entry and of its baselines, one file a run.

    python -m zoo.recipes.study NAME --data-dir DIR --work DIR [--seeds 0 1 2]

A run that is there already is not repeated, so that a study goes on where it was cut off, and
several processes share one by their seeds. Entries whose baselines are the same share their runs.
"""

import argparse
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mtl_keras.atomic import atomic_output
from zoo import presets
from zoo.datasets.dataset import Dataset
from zoo.progress import FitProgress
from zoo.recipes.recipe import Recipe
from zoo.recipes.run import Run, loaded, trained


@dataclass(frozen=True)
class Job:
    """One training of a study.

    Args:
        role: "entry", "single_task" or "plain_sum".
        seed: the seed.
        task: name of the only task, for single tasks.
        row_task: id of whose rows alone, where the tasks are rows.
        name: what its metrics are of: the task, or whose the rows are; the role for all tasks.
    """

    role: str
    seed: int
    task: str | None = None
    row_task: int | None = None
    name: str = ""

    def narrowed(self, data: Dataset, recipe: Recipe) -> Dataset:
        """The job's part of the data, in the order of its seed."""
        batch_size = recipe.data.get("batch_size", 256)
        if self.task is None:
            return data.in_order(batch_size, self.seed)
        return data.only(self.task, self.row_task, batch_size, self.seed)


def jobs(recipe: Recipe, data: Dataset, seed: int) -> Iterator[Job]:
    """What is trained with one seed."""
    for role in recipe.roles:
        if role != "single_task":
            yield Job(role, seed, name=role)
            continue
        for task in data.tasks:
            owners = [(None, task.name)]
            for names in data.row_tasks.values():
                owners = list(enumerate(names))
            for row_task, name in owners:
                yield Job(role, seed, task.name, row_task, name)


def fingerprint(recipe: Recipe, job: Job) -> str:
    """What a run depends on, as 16 hexadecimal digits."""
    shared = ("data", "optimizer", "epochs", "patience", "features", "tasks")
    depends = {name: getattr(recipe, name) for name in shared}
    plan = {name: own for name, own in asdict(recipe.roles[job.role]).items() if own is not None}
    depends |= {"plan": plan, "task": job.task, "row": job.row_task}
    text = json.dumps(depends | {"seed": job.seed}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def find_run(work: str | os.PathLike, recipe: Recipe, job: Job) -> Run | None:
    """A finished run, if there is one."""
    path = _path(work, recipe, job) / "run.json"
    return Run(**json.loads(path.read_text())) if path.exists() else None


def model_path(work: str | os.PathLike, recipe: Recipe, job: Job) -> Path:
    """Where the trained model of a finished run of the entry lies."""
    return _path(work, recipe, job) / "model.keras"


def _path(work, recipe, job):
    return Path(work) / fingerprint(recipe, job)


def study(
    recipe: Recipe,
    data_dir: Any,
    work: str | os.PathLike,
    seeds: Iterable[int],
    console: Any = None,
) -> None:
    """Does the runs that are not there yet.

    Args:
        recipe: the recipe.
        data_dir: directory of TensorFlow Datasets.
        work: folder of finished runs.
        seeds: which seeds.
        console: a `rich.console.Console` to show progress on.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console or Console()) as progress:
        data = loaded(recipe, data_dir)
        for seed in seeds:
            for job in jobs(recipe, data, seed):
                if find_run(work, recipe, job) is None:
                    _do(recipe, job, data, work, progress)


def _do(recipe, job, data, work, progress):
    # The order of the data hangs on it too: a run shall not depend on those before it.
    keras.utils.set_random_seed(job.seed)
    narrowed = job.narrowed(data, recipe)
    steps = int(narrowed.train.cardinality())
    plan = recipe.roles[job.role]
    epochs = recipe.budget(plan)["epochs"]
    bar = FitProgress(progress, f"{_title(job)}, seed {job.seed}", epochs, steps)
    model, run = trained(plan, recipe, narrowed, job.seed, [bar])
    # Another process may have done it meanwhile: then its run stands.
    with suppress(FileExistsError), atomic_output(_path(work, recipe, job)) as folder:
        folder.mkdir()
        # Of all tasks: one recipe's baseline may be another's entry.
        if job.task is None:
            model.save(folder / "model.keras")
        (folder / "run.json").write_text(json.dumps(asdict(run), indent=1) + "\n")


def _title(job):
    return f"{job.name} alone" if job.role == "single_task" else job.role


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--data-dir", help="directory of TensorFlow Datasets")
    parser.add_argument("--work", required=True, help="folder of finished runs")
    parser.add_argument("--seeds", type=int, nargs="*", help="default: all of the recipe")
    options = parser.parse_args()
    recipe = Recipe.read(Path(presets.__file__).parent / options.name / "recipe.json")
    seeds = options.seeds if options.seeds is not None else range(recipe.seeds)
    study(recipe, options.data_dir, options.work, seeds)


if __name__ == "__main__":
    main()
