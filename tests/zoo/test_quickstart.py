"""The quickstart from end to end on few rows and columns; in full where marked slow."""

import dataclasses
import io
import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from rich.console import Console

from zoo import cli, datasets, quickstart, shared_trunk
from zoo.comparison import roc_auc
from zoo.query_saved_model import query

if keras.backend.backend() != "tensorflow":
    pytest.skip("string features need the TensorFlow backend", allow_module_level=True)

COLUMNS = ("age", "class_worker", "weeks_worked")
PERSON = {"age": [50.0, 8.0], "class_worker": ["Private", "nowhere"], "weeks_worked": [52.0, 0.0]}
original_load = datasets.load


def small_load(name, **options):
    """The real data set: three columns, four batches of each split."""
    data = original_load(name, **options)

    def shrunk(split):
        return split.take(4).map(lambda x, y: ({column: x[column] for column in COLUMNS}, y))

    return dataclasses.replace(
        data,
        features={column: data.features[column] for column in COLUMNS},
        **{split: shrunk(getattr(data, split)) for split in ("train", "validation", "test")},
    )


@pytest.fixture(scope="module", autouse=True)
def small_data():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load", small_load)
        yield


@dataclasses.dataclass
class Run:
    folder: Path
    results: dict
    text: str

    @property
    def model(self):
        return keras.saving.load_model(self.folder / "model.keras")


def run(folder, seed=0):
    text = io.StringIO()
    console = Console(file=text, width=120)
    results = quickstart.run(folder, seed=seed, epochs=1, console=console)
    return Run(folder, results, text.getvalue())


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    return run(tmp_path_factory.mktemp("quickstart") / "first")


@pytest.fixture
def without_export(monkeypatch):
    """Runs train and compare, but nothing is exported."""
    monkeypatch.setattr(quickstart.MultiTaskModel, "export", lambda *arguments: None)
    monkeypatch.setattr(quickstart, "_ask_new_process", lambda *arguments: "")


# -- what is written


def test_the_output_is_whole_and_nothing_is_beside_it(first):
    assert {path.name for path in first.folder.iterdir()} == {
        "results.json",
        "model.keras",
        "served",
    }
    assert list(first.folder.parent.iterdir()) == [first.folder]


def test_the_results_returned_are_those_written(first):
    assert json.loads((first.folder / "results.json").read_text()) == first.results


def test_the_written_auc_is_that_of_the_written_model(first):
    test = small_load("census_income", batch_size=512).test
    outputs = first.model.predict(test.map(lambda x, y: x), verbose=0)
    for task, auc in first.results["test_auc"]["shared trunk"].items():
        labels = np.concatenate([y[task].numpy() for _, y in test])
        assert auc == pytest.approx(roc_auc(labels, outputs[task][:, 0]), abs=1e-12)


def test_both_sides_have_both_tasks(first):
    auc = first.results["test_auc"]
    assert set(auc) == {"single task", "shared trunk"}
    assert all(set(side) == {"income", "never_married"} for side in auc.values())


def test_the_written_change_is_that_of_the_written_auc(first):
    auc = first.results["test_auc"]
    gains = [auc["shared trunk"][t] / auc["single task"][t] - 1 for t in auc["single task"]]
    assert first.results["delta_m_percent"] == pytest.approx(100 * np.mean(gains))


def test_all_models_have_the_same_trunk(first):
    heads = {"shared trunk": 2, "income alone": 1, "never_married alone": 1}
    width = quickstart.TRUNK[-1] + 1
    trunks = {first.results["parameters"][title] - n * width for title, n in heads.items()}
    assert len(trunks) == 1
    assert first.results["parameters"]["shared trunk"] == first.model.count_params()


def test_the_interval_holds_the_change(first):
    low, high = first.results["delta_m_interval_95"]
    assert low < first.results["delta_m_percent"] < high


# -- what is said


def test_the_verdict_is_said_and_written(first):
    assert first.results["verdict"] in first.text


def test_the_table_has_every_auc(first):
    for side in first.results["test_auc"].values():
        for task, auc in side.items():
            lines = [line for line in first.text.splitlines() if task in line]
            assert any(f"{auc:.4f}" in line for line in lines)


def test_the_place_of_the_output_is_said(first):
    assert f"Written to {first.folder}" in first.text


# -- the seed


def test_a_seed_repeats_the_run(first, tmp_path, without_export):
    again = run(tmp_path / "again")
    written = [(r.folder / "results.json").read_bytes() for r in (first, again)]
    assert written[0] == written[1]


@pytest.mark.slow
def test_another_seed_is_another_run(first, tmp_path, without_export):
    other = run(tmp_path / "other", seed=1)
    assert other.results["test_auc"] != first.results["test_auc"]


# -- serving

WITHOUT_NETWORK = """
import runpy, socket, sys
def refuse(*arguments, **options):
    raise OSError("the network is closed")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_new_process_without_our_packages_or_network_answers_the_same(first):
    import tensorflow as tf

    script = quickstart.query_saved_model.__file__
    process = subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT_NETWORK, script, str(first.folder / "served")],
        input=json.dumps(PERSON),
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(process.stdout)
    assert answer["imported"] == []
    expected = first.model.predict({n: tf.constant(v) for n, v in PERSON.items()}, verbose=0)
    for task, value in expected.items():
        # Another compilation of the same float32 sums.
        np.testing.assert_allclose(answer["outputs"][task], value, rtol=1e-5)


@pytest.mark.parametrize(
    "request_", [{"age": [50.0]}, PERSON | {"height": [1.8, 1.2]}], ids=["missing", "unknown"]
)
def test_a_query_must_have_the_inputs(first, request_):
    with pytest.raises(ValueError, match=r"must have the inputs .*'age'.*Received: .*'age'"):
        query(str(first.folder / "served"), request_)


def answering(text, folder):
    """A stand-in for the script that asks the SavedModel."""
    script = folder / "answer.py"
    script.write_text(f"import sys\nsys.stdin.read()\n{text}\n")
    return str(script)


ANSWER = 'print(\'{"outputs": {"income": [[%s]], "never_married": [[%s]]}, "imported": [%s]}\')'


@pytest.fixture(scope="module")
def untrained():
    keras.utils.set_random_seed(0)
    data = small_load("census_income")
    model = shared_trunk(data.tasks, data.features, [4])
    x, _ = next(iter(data.test))
    outputs = model.predict({name: value[:1] for name, value in x.items()}, verbose=0)
    return data, model, {task: float(value[0, 0]) for task, value in outputs.items()}


def ask(untrained, monkeypatch, script):
    data, model, _ = untrained
    monkeypatch.setattr(quickstart.query_saved_model, "__file__", script)
    return quickstart._ask_new_process(model, "served", data)


def test_an_equal_answer_is_accepted(untrained, monkeypatch, tmp_path):
    income, never_married = untrained[2].values()
    script = answering(ANSWER % (income, never_married, ""), tmp_path)
    assert f"income {income:.1%}" in ask(untrained, monkeypatch, script)


@pytest.mark.parametrize("wrong", ["first", "second", "NaN", "imported"])
def test_a_changed_answer_is_refused(wrong, untrained, monkeypatch, tmp_path):
    income, never_married = untrained[2].values()
    answer = {
        "first": (income + 1e-3, never_married, ""),
        "second": (income, never_married - 1e-3, ""),
        "NaN": (income, "NaN", ""),
        "imported": (income, never_married, '"zoo"'),
    }[wrong]
    with pytest.raises(RuntimeError, match=r"The exported model must answer .*Received: "):
        ask(untrained, monkeypatch, answering(ANSWER % answer, tmp_path))


def test_a_failing_query_shows_why(untrained, monkeypatch, tmp_path):
    script = answering("sys.exit('the model is broken')", tmp_path)
    with pytest.raises(RuntimeError, match="could not be asked:\nthe model is broken"):
        ask(untrained, monkeypatch, script)


def test_a_refused_answer_leaves_nothing(monkeypatch, tmp_path):
    def without_training(data, *arguments):
        groups = {"shared trunk": data.tasks} | {f"{t.name} alone": [t] for t in data.tasks}
        return {title: shared_trunk(tasks, data.features, [4]) for title, tasks in groups.items()}

    place = tmp_path / "place"
    place.mkdir()
    script = answering(ANSWER % (2.0, 2.0, ""), tmp_path)
    monkeypatch.setattr(quickstart.query_saved_model, "__file__", script)
    monkeypatch.setattr(quickstart, "_train_all", without_training)
    monkeypatch.setattr(quickstart, "_results", lambda *arguments: {})
    with pytest.raises(RuntimeError, match="The exported model must answer"):
        run(place / "new")
    assert list(place.iterdir()) == []


# -- in full


@pytest.mark.slow
def test_the_command_runs_in_full(tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "zoo", "quickstart", "--output", "new"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    results = json.loads((tmp_path / "new" / "results.json").read_text())
    assert results["verdict"] in " ".join(process.stdout.split())
    # Both tasks are easy to do well: far from 0.5 shows that all of it trained.
    assert min(auc for side in results["test_auc"].values() for auc in side.values()) > 0.9


@pytest.mark.slow
def test_the_command_repeats_under_its_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "load", original_load)
    for name in ("first", "second"):
        arguments = ["quickstart", "--output", str(tmp_path / name), "--epochs", "2", "--seed", "5"]
        assert cli.main(arguments) == 0
    written = [(tmp_path / name / "results.json").read_bytes() for name in ("first", "second")]
    assert written[0] == written[1]
