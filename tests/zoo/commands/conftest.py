"""Tiny entries and a tiny data set, which the commands meet in place of the zoo's own."""

import io
import json
import shutil
import sys
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
import pytest

import mtl_keras as mtl
import zoo
from zoo import cli, datasets
from zoo.datasets.columns import Split
from zoo.datasets.dataset import Dataset
from zoo.features import Categorical, Numeric, Text

if keras.backend.backend() != "tensorflow":
    # Texts and tf.data: as for all data sets.
    collect_ignore_glob = ["test_*.py"]


@dataclass
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self):
        """What was printed, which is one line of JSON and nothing else."""
        assert self.out.count("\n") == 1
        return json.loads(self.out)


@pytest.fixture
def zoo_says(capsys, monkeypatch):
    """Runs a command in this process, in a window 120 letters wide."""
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments):
        capsys.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Said(code, captured.out, captured.err)

    return run


@pytest.fixture
def mistake(zoo_says):
    """Runs a command that must fail with one line on standard error; gives that line."""

    def run(*arguments):
        said = zoo_says(*arguments)
        assert (said.code, said.out) == (1, ""), said
        assert said.err.startswith("mtl-zoo: error: ") and said.err.count("\n") == 1, said.err
        return said.err

    return run


@pytest.fixture
def no_training(monkeypatch):
    def fit(*arguments, **options):
        raise AssertionError("trained in vain")

    monkeypatch.setattr(mtl.MultiTaskModel, "fit", fit)


@pytest.fixture(scope="session")
def entry(tmp_path_factory):
    """The folder of a model of tasks of four kinds, which reads a number and a category."""
    keras.utils.set_random_seed(0)
    tasks = [
        mtl.BinaryTask("clicked"),
        mtl.CategoricalTask("kind", 3),
        mtl.RegressionTask("price"),
        mtl.MultiLabelTask("tags", 2),
    ]
    inputs = {"age": Numeric(40.0, 100.0), "job": Categorical(vocabulary=("nurse", "cook"))}
    model = zoo.shared_trunk(tasks, inputs, trunk=[4])
    example = {"age": np.array([38.0, 20.0]), "job": np.array(["cook", "smith"], object)}
    folder = tmp_path_factory.mktemp("entries") / "shop"
    return zoo.save(model, folder, example, title="What a customer of a shop does")


@pytest.fixture(scope="session")
def text_entry(tmp_path_factory):
    """The folder of a model of one text: a word a word, a tag a word, and one answer."""
    keras.utils.set_random_seed(0)
    tasks = [mtl.TokenTask("next_word", 6), mtl.TokenTask("tag", 4), mtl.BinaryTask("good")]
    text = Text(("i", "like", "new", "york"), max_tokens=6, sequence_length=5, standardize="lower")
    model = zoo.joint_text(tasks, {"text": text}, embedding=4, units=4)
    example = {"text": np.array(["I like New York"], object)}
    return zoo.save(model, tmp_path_factory.mktemp("entries") / "words", example)


RECIPE = {
    "title": "Two tasks of two numbers",
    "data": {"name": "snips", "batch_size": 32},
    "model": {"builder": "shared_trunk", "arguments": {"trunk": [4]}},
    "single_task": {"builder": "single_task", "arguments": {"trunk": [4]}},
    "epochs": 2,
    "patience": 1,
    "published": [{"source": "Somebody", "figures": {"first": {"auc": 0.9}}, "difference": "all"}],
}


@pytest.fixture
def recipe(tmp_path):
    """A folder that holds a recipe alone."""
    return _written(tmp_path / "recipes" / "tiny")


def _written(folder):
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(json.dumps(RECIPE))
    return folder


@pytest.fixture
def tiny_data(monkeypatch):
    """`zoo.datasets.load` gives 96 rows; the list of what it was asked for."""
    asked = []
    monkeypatch.setattr(datasets, "load", partial(_load, asked))
    return asked


def _load(asked, name, source="auto", data_dir=None, batch_size=256, seed=0, variant=None):
    asked.append({"source": source, "data_dir": data_dir, "seed": seed})
    # As TensorFlow Datasets does.
    print("Downloading")
    splits = {name: _split(rows, seed=rows) for name, rows in SIZES.items()}
    tasks = [mtl.BinaryTask("first"), mtl.BinaryTask("both")]
    return Dataset.from_splits(name, source, splits, tasks, batch_size, seed)


SIZES = {"train": 96, "validation": 40, "test": 48}


def _split(rows, seed):
    x = np.random.default_rng(seed).normal(size=(rows, 2)).astype("float32")
    labels = {"first": x[:, 0] > 0, "both": x.sum(axis=1) > 0}
    return Split(
        {"left": x[:, 0], "right": x[:, 1]},
        {task: values.astype("float32") for task, values in labels.items()},
    )


@pytest.fixture(scope="session")
def _trained_once(tmp_path_factory):
    place = tmp_path_factory.mktemp("trained")
    recipe = _written(place / "recipes" / "tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load", partial(_load, []))
        assert cli.main(["train", str(recipe), "--output", str(place / "new")]) == 0
    return place / "new"


@pytest.fixture
def trained(_trained_once, tmp_path):
    """The folder of an entry that was trained by the recipe; the test may change it."""
    return shutil.copytree(_trained_once, tmp_path / "trained" / "new")


@pytest.fixture
def typed(monkeypatch):
    """Puts a text on standard input."""
    return lambda text: monkeypatch.setattr(sys, "stdin", io.StringIO(text))
