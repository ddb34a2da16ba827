"""Entries on disk: a small model to save, and how to change a folder so that its digests fit."""

import json
import shutil
from pathlib import Path

import h5py
import keras
import numpy as np

import mtl_keras as mtl
import zoo
from zoo.entries.manifest import digest_of

WIDTH = 4
X = np.random.default_rng(0).normal(size=(12, WIDTH)).astype("float32")
Y = {
    "clicked": (X[:, 0] > 0).astype("float32"),
    "bought": (X[:, 1] > 0).astype("float32"),
    "price": X[:, 2],
}
ARCHITECTURE, MANIFEST, TRUNK = "architecture.json", "manifest.json", "trunk.weights.h5"
CLICKED, BOUGHT = "heads/clicked.weights.h5", "heads/bought.weights.h5"


def three_tasks():
    """Two tasks with heads of equal shapes, and a third."""
    return [mtl.BinaryTask("clicked"), mtl.BinaryTask("bought"), mtl.RegressionTask("price")]


def small_model(**options):
    """A trunk of one layer with three heads, all weights drawn."""
    keras.utils.set_random_seed(0)
    # Tracing takes longer than all else that is done with so small a model.
    options = {"run_eagerly": keras.backend.backend() == "tensorflow"} | options
    model = zoo.shared_trunk(three_tasks(), WIDTH, trunk=[8], **options)
    draw = np.random.default_rng(1)
    for variable in model.weights:
        variable.assign(draw.normal(size=variable.shape))
    return model


def drawn(model):
    """Every weight gets another value, so that none is what a fresh model has."""
    draw = np.random.default_rng(2)
    for variable in model.weights:
        if "float" in variable.dtype:
            # Also the variances of batch normalisation, which must not be negative.
            variable.assign(draw.uniform(0.1, 0.9, variable.shape))
    return model


def rows_of(model, x):
    """`x` by the names of the model's inputs."""
    return x if isinstance(x, dict) else {keras.tree.flatten(model.inputs)[0].name: x}


def answers(model, x=X):
    """What a model predicts, by task."""
    return {task: np.asarray(y) for task, y in model.predict(x, verbose=0).items()}


def assert_equal_answers(ours, theirs):
    """Equal to the last bit."""
    assert set(ours) == set(theirs)
    for task in ours:
        np.testing.assert_array_equal(ours[task], theirs[task], err_msg=task)


def read_json(folder, name=MANIFEST):
    """A JSON file of an entry."""
    return json.loads((Path(folder) / name).read_text("utf-8"))


def write_json(folder, content, name=MANIFEST):
    """Puts another JSON file into an entry, with its digest where it has one."""
    (Path(folder) / name).write_text(json.dumps(content), "utf-8")
    if name != MANIFEST:
        rehash(folder)


def change_manifest(folder, change):
    """`change` is called with the manifest, and may change it in place."""
    manifest = read_json(folder)
    change(manifest)
    write_json(folder, manifest)


def change_architecture(folder, change):
    """`change` is called with the config of the model, and may change it in place."""
    config = read_json(folder, ARCHITECTURE)
    change(config)
    write_json(folder, config, ARCHITECTURE)


def change_weights(folder, name, change):
    """`change` is called with an open HDF5 file."""
    with h5py.File(Path(folder) / name, "r+") as file:
        change(file)
    rehash(folder)


def rehash(folder):
    """Makes the manifest's digests those of the files that are there."""

    def change(manifest):
        for name in manifest["files"]:
            manifest["files"][name] = digest_of(Path(folder) / name)

    change_manifest(folder, change)


def layer_of(config, name):
    """The config of a layer anywhere in a model."""
    for layer in config["config"].get("layers", ()):
        if layer["config"].get("name") == name:
            return layer
        if "layers" in layer["config"]:
            found = layer_of(layer, name)
            if found is not None:
                return found
    return None


def copied(folder, to):
    """A copy of an entry to be changed."""
    return Path(shutil.copytree(folder, to))
