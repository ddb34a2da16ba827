"""The recipe of an entry, its data, and one training of it, as commands need them."""

from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from mtl_keras import MultiTaskModel
from zoo import datasets, registry
from zoo.commands.output import standard_error
from zoo.datasets.dataset import Dataset
from zoo.progress import FitProgress
from zoo.recipes.recipe import Recipe
from zoo.recipes.run import Run, loaded, trained


def recipe_of(name: str, sample: bool = False, epochs: int | None = None) -> tuple[Path, Recipe]:
    """The recipe of an entry, and where it lies; its data are the full ones, or the sample.

    Args:
        name: of an entry, its folder or its address; a folder with a recipe alone will do.
        sample: whether to take the sample inside the package. An entry that was trained on it
            stays with it.
        epochs: in place of the recipe's.

    Raises:
        ValueError, OSError: when there is none.
    """
    path = registry.recipe_path(name)
    recipe = Recipe.read(path).with_epochs(epochs)
    source = "embedded" if sample else recipe.data.get("source", "tfds")
    return path, replace(recipe, data={**recipe.data, "source": source})


def loaded_data(recipe: Recipe, data_dir: Any) -> Dataset:
    """The recipe's data as they are, for a model that brings its own preprocessing.

    Raises:
        ValueError, OSError, ImportError: as `zoo.datasets.load`.
    """
    with redirect_stdout(standard_error().file):
        return datasets.load(**recipe.data, data_dir=data_dir)


def trained_once(
    recipe: Recipe, data_dir: Any, seed: int, title: str
) -> tuple[MultiTaskModel, Run, Dataset]:
    """Trains the entry of a recipe with one seed, with a progress bar on standard error.

    Raises:
        ValueError, OSError, ImportError: as `zoo.datasets.load`, and for a recipe that no model
            can be built from.
    """
    console = standard_error()
    # The order of the rows is drawn from this seed too, where the data are made.
    keras.utils.set_random_seed(seed)
    # TensorFlow Datasets reports its progress on standard output.
    with redirect_stdout(console.file):
        data = loaded(recipe, data_dir, seed)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = FitProgress(progress, title, recipe.epochs, int(data.train.cardinality()))
        model, run = trained(recipe.model, recipe, data, seed, [bar])
    return model, run, data
