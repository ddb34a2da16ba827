import json

import numpy as np
import pytest

import zoo
from zoo import datasets
from zoo.entries.manifest import read_manifest


@pytest.fixture(autouse=True)
def small(tiny_data):
    pass


def test_the_metrics_of_the_test_split_are_those_of_the_card(zoo_says, trained):
    said = zoo_says("evaluate", trained, "--json")
    runs = read_manifest(trained)["results"]["runs"]["entry"]["metrics"]
    assert said.json["split"] == "test" and said.json["rows"] == 48
    for task, metrics in runs.items():
        for metric, (value,) in metrics.items():
            assert said.json["metrics"][task][metric] == pytest.approx(value, rel=1e-5)


def test_another_split_has_metrics_of_its_own(zoo_says, trained):
    said = zoo_says("evaluate", trained, "--split", "validation", "--json")
    data = datasets.load("snips")
    labels = data.splits["validation"].labels["first"]
    outputs = zoo.load(trained).predict(data.splits["validation"].inputs, verbose=0)["first"]
    accuracy = np.mean((outputs[:, 0] > 0.5) == labels)
    assert said.json["rows"] == 40
    assert said.json["metrics"]["first"]["accuracy"] == pytest.approx(accuracy)


def test_the_table_has_every_task_and_their_mean(zoo_says, trained):
    metrics = zoo_says("evaluate", trained, "--json").json["metrics"]
    said = zoo_says("evaluate", trained)
    lines = {line.split()[0]: line.split() for line in said.out.splitlines() if line.split()}
    column = lines["task"].index("auc")
    for task in ("first", "both"):
        assert lines[task][column] == f"{metrics[task]['auc']:.4f}"
    mean = np.mean([metrics[task]["auc"] for task in ("first", "both")])
    assert lines["mean"][column] == f"{mean:.4f}"
    assert "test split, 48 rows" in said.out


@pytest.mark.parametrize(("option", "source"), [((), "tfds"), (("--sample",), "embedded")])
def test_the_data_are_the_full_ones_or_the_sample(zoo_says, trained, tiny_data, option, source):
    zoo_says("evaluate", trained, "--data-dir", "somewhere", *option)
    assert tiny_data == [{"source": source, "data_dir": "somewhere", "seed": 0}]


def test_data_that_do_not_label_a_task_are_refused(zoo_says, trained, entry, tmp_path):
    golden = {"age": np.array([38.0]), "job": np.array(["cook"], object)}
    recipe_of_another = json.loads((trained / "recipe.json").read_text())
    folder = zoo.save(zoo.load(entry), tmp_path / "shop", golden, recipe=recipe_of_another)
    said = zoo_says("evaluate", folder)
    assert (said.code, said.out) == (1, "")
    message = said.err.splitlines()[-1]
    assert message.startswith("mtl-zoo: error: The data of the recipe, 'snips', must label")
    assert "Received: a model of ['clicked', 'kind'" in message
