"""Every pretrained entry of the package, on every backend: whole, safe, and as it was."""

import json
import socket

import keras
import numpy as np
import pytest

import mtl_keras as mtl
import zoo
from zoo import registry
from zoo.recipes.recipe import Recipe

PRETRAINED = registry.list_models(pretrained=True)
# One of raw strings and one of numbers, labels of the latter missing; the others are slow.
QUICK = ("mmoe_census", "tox21_fingerprint")
TRAINED = [
    name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PRETRAINED
]
LARGEST = 40 * 10**6  # Bytes of all entries together, as they ship in the wheel.


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("name", PRETRAINED)
def test_an_entry_gives_its_golden_output(name):
    checked = registry.verify(name)
    assert checked["difference"] <= 1e-5
    assert checked["files"] >= 3


@pytest.mark.parametrize("name", TRAINED)
def test_an_entry_is_ready_to_train_on(name):
    model = zoo.load(name)
    x = registry.encoded(name, zoo.example(name))
    before = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    outputs = model.predict(x, verbose=0)
    y = {task.name: _some_labels(task, outputs[task.name]) for task in model.tasks}
    loss = model.fit(x, y, epochs=1, verbose=0).history["loss"][0]
    assert np.isfinite(loss)
    after = [keras.ops.convert_to_numpy(v) for v in model.trainable_variables]
    assert any((a != b).any() for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("name", TRAINED)
def test_new_heads_take_the_place_of_the_old_ones(name):
    positions = registry.manifest_of(name)["tasks"][0]["kind"] == "TokenTask"
    new = mtl.TokenTask("added", 3) if positions else mtl.BinaryTask("added")
    model = zoo.load(name, tasks=[new])
    outputs = model.predict(registry.encoded(name, zoo.example(name)), verbose=0)
    assert list(outputs) == ["added"]
    assert np.isfinite(outputs["added"]).all()


@pytest.mark.parametrize("name", registry.list_models())
def test_a_recipe_is_complete(name):
    recipe = Recipe.read(registry.recipe_path(name))
    assert recipe.weights_licence
    assert recipe.limits


@pytest.mark.parametrize("name", PRETRAINED)
def test_a_manifest_tells_seeds_baselines_and_the_recipe_that_lies_beside_it(name):
    manifest = registry.manifest_of(name)
    recipe = Recipe.read(registry.recipe_path(name))
    runs = manifest["results"]["runs"]
    assert set(runs) == set(recipe.roles)
    assert len(manifest["results"]["seeds"]) == recipe.seeds >= 3
    for of_role in runs.values():
        assert len(of_role["seconds"]) == recipe.seeds
    assert manifest["dataset"]["name"] == recipe.data["name"]
    assert json.loads(registry.recipe_path(name).read_text("utf-8"))["title"] == manifest["title"]


def test_all_entries_together_are_small_enough_for_the_wheel():
    files = [path for path in registry.PRESETS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < LARGEST


def test_there_is_an_entry():
    assert PRETRAINED


def _some_labels(task, output):
    if task.labels.kind == "class":
        return np.asarray(np.argmax(output, -1), "int32")
    return np.zeros(output.shape if task.units > 1 else output.shape[:1], "float32")
