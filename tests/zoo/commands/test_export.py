import json
import subprocess
import sys

import numpy as np
import pytest

import mtl_keras as mtl
import zoo
from zoo import query_saved_model
from zoo.entries.manifest import read_manifest


@pytest.fixture
def started(monkeypatch):
    """The commands of processes that were started."""
    commands = []

    def run(command, original=subprocess.run, **options):
        commands.append(command)
        return original(command, **options)

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_the_saved_model_answers_as_the_entry_does(zoo_says, entry, tmp_path, started):
    said = zoo_says("export", entry, tmp_path / "served", "--json")
    assert said.json["inputs"] == ["age", "job"]
    assert said.json["outputs"] == ["clicked", "kind", "price", "tags"]
    golden = read_manifest(entry)["golden"]
    found = query_saved_model.query(str(tmp_path / "served"), golden["input"])
    for task, expected in golden["output"].items():
        np.testing.assert_allclose(found[task], expected, atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["served"]
    ((python, flag, script, _),) = started
    assert (python, flag, script) == (sys.executable, "-I", query_saved_model.__file__)


@pytest.mark.slow
def test_a_model_of_one_unnamed_input_is_exported(zoo_says, tmp_path):
    model = zoo.shared_trunk([mtl.BinaryTask("clicked")], 3, trunk=[2])
    folder = zoo.save(model, tmp_path / "plain", {"features": np.ones((1, 3))})
    said = zoo_says("export", folder, tmp_path / "served")
    assert (said.code, said.err) == (0, "")
    assert "from features to clicked" in said.out


@pytest.fixture
def served_wrongly(monkeypatch, tmp_path, entry):
    """The fresh process answers something else for one task."""
    output = read_manifest(entry)["golden"]["output"]
    wrong = output | {"price": [[value + 1e-3] for (value,) in output["price"]]}
    script = tmp_path / "answer.py"
    script.write_text(f"print({json.dumps({'outputs': wrong, 'imported': []})!r})")
    monkeypatch.setattr(query_saved_model, "__file__", str(script))


def test_another_answer_of_the_fresh_process_is_refused(mistake, entry, tmp_path, served_wrongly):
    place = tmp_path / "place"
    place.mkdir()
    assert "golden output of 'price'" in mistake("export", entry, place / "served")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("how", [("--quantize", "int8"), ("--dtype", "float16")])
def test_weights_in_fewer_bytes_and_what_they_change(zoo_says, entry, tmp_path, how):
    import tensorflow as tf

    said = zoo_says("export", entry, tmp_path / "served", *how, "--json").json
    assert said["weights"] == how[1] and said["difference"] < 1e-5
    golden = read_manifest(entry)["golden"]
    found = query_saved_model.query(str(tmp_path / "served"), golden["input"])
    apart = [np.abs(found[task] - np.array(own)).max() for task, own in golden["output"].items()]
    assert said["moved"] == pytest.approx(max(apart), abs=1e-6)
    kept = tf.train.load_checkpoint(str(tmp_path / "served" / "variables" / "variables"))
    # No line of this small entry is long enough for int8 to gain anything.
    expected = {"float16", "float32"} if how[1] == "float16" else {"float32"}
    found = {own.name for own in kept.get_variable_to_dtype_map().values()}
    assert found - {"string"} == expected


@pytest.mark.slow
def test_the_metrics_with_weights_in_fewer_bytes(zoo_says, tmp_path):
    """`pytest -m slow -k fewer_bytes`"""
    how = ("--quantize", "int8", "--sample", "--json")
    said = zoo_says("export", "shared_trunk_census", tmp_path / "served", *how).json
    for task, before in said["float32"].items():
        assert said["int8"][task]["auc"] == pytest.approx(before["auc"], abs=5e-4)
        assert said["int8"][task]["loss"] != before["loss"]


def test_an_existing_path_is_refused(mistake, entry, tmp_path):
    (tmp_path / "old").write_text("kept")
    assert "Received: path=" in mistake("export", entry, tmp_path / "old")
    assert (tmp_path / "old").read_text() == "kept"


@pytest.mark.slow
def test_some_tasks_alone_a_signature_each(zoo_says, entry, tmp_path):
    import tensorflow as tf

    path = tmp_path / "served"
    tasks = ("--tasks", "price", "kind", "--signatures", "per_task")
    said = zoo_says("export", entry, path, *tasks, "--json")
    assert said.json["outputs"] == ["price", "kind"] and said.json["difference"] < 1e-5
    signatures = tf.saved_model.load(str(path)).signatures
    assert set(signatures) == {"price", "kind", "serving_default"}


def test_another_format_and_what_it_cannot_hold(zoo_says, entry, tmp_path):
    from ai_edge_litert.interpreter import Interpreter

    path = tmp_path / "model.tflite"
    said = zoo_says("export", entry, path, "--format", "litert", "--signatures", "both", "--json")
    assert said.json["written"] == [str(path), str(tmp_path / "model.tflite.preprocessing")]
    assert "'litert' holds no strings" in said.json["notes"][0]
    names = set(Interpreter(str(path)).get_signature_list())
    assert names == {"serving_default", "clicked", "kind", "price", "tags"}


def test_an_unknown_task_is_named(mistake, entry, tmp_path):
    message = mistake("export", entry, tmp_path / "served", "--tasks", "shoes")
    assert "`tasks` must be a list of the model's tasks" in message and "shoes" in message
    assert list(tmp_path.iterdir()) == []
