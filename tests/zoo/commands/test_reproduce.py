"""A run beside the card's runs: what lies inside, what is said, and the exit code."""

import json
import math

import pytest

from zoo.commands.reproduce import comparisons
from zoo.entries.manifest import FILE_NAME, read_manifest
from zoo.recipes.summary import Summary


def results(**tasks):
    """The section of a manifest: task to the score of each seed."""
    metrics = {task: {"auc": values} for task, values in tasks.items()}
    seeds = list(range(len(next(iter(tasks.values())))))
    entry = {"parameters": 1, "seconds": [1.0 for _ in seeds], "metrics": metrics}
    score = dict.fromkeys(tasks, "auc max")
    return {"split": "test", "seeds": seeds, "score": score, "runs": {"entry": entry}}


def compared(section, **values):
    return list(comparisons(section, {task: {"auc": value} for task, value in values.items()}))


def test_a_score_is_held_against_the_prediction_interval_of_its_task():
    section = results(a=[0.8, 0.82, 0.84], b=[0.5, 0.5, 0.5])
    low, high = Summary(section).interval("a", "auc")
    expected = {low - 1e-9: False, low + 1e-9: True, high - 1e-9: True, high + 1e-9: False}
    for value, inside in expected.items():
        about = {"task": "a", "metric": "auc", "value": value, "interval": [low, high]}
        assert compared(section, a=value, b=0.5)[0] == about | {"inside": inside}


def test_the_mean_over_tasks_has_an_interval_of_its_own():
    # The tasks' scores move against each other: their mean hardly moves.
    section = results(a=[0.8, 0.9, 1.0], b=[1.0, 0.9, 0.8001])
    *tasks, mean = compared(section, a=0.95, b=0.95)
    assert [own["inside"] for own in tasks] == [True, True]
    assert mean["task"] == "mean" and mean["value"] == pytest.approx(0.95)
    assert mean["interval"][1] < 0.91 and not mean["inside"]


def test_scores_of_different_metrics_have_no_mean():
    section = results(a=[0.8, 0.9], b=[0.5, 0.6])
    section["score"]["b"] = "mae min"
    section["runs"]["entry"]["metrics"]["b"] = {"mae": [0.5, 0.6]}
    found = list(comparisons(section, {"a": {"auc": 0.85}, "b": {"mae": 0.55}}))
    assert [(own["task"], own["metric"]) for own in found] == [("a", "auc"), ("b", "mae")]


@pytest.mark.parametrize("value", [math.nan, None])
def test_an_undefined_or_missing_score_lies_nowhere(value):
    section = results(a=[0.8, 0.9])
    metrics = {} if value is None else {"a": {"auc": value}}
    assert [own["inside"] for own in comparisons(section, metrics)] == [False]


@pytest.fixture
def published(trained, tiny_data):
    """Makes an entry with a card that says these scores of its seeds, for both tasks."""

    def with_scores(*values):
        manifest = read_manifest(trained)
        manifest["results"] = results(first=list(values), both=list(values))
        (trained / FILE_NAME).write_text(json.dumps(manifest))
        return trained

    return with_scores


def test_scores_inside_are_reproduced(zoo_says, published, tiny_data):
    said = zoo_says("reproduce", published(0.1, 0.5, 0.9), "--json", "--data-dir", "somewhere")
    assert said.code == 0
    assert said.json["reproduced"] and said.json["differs"] == []
    assert [own["task"] for own in said.json["scores"]] == ["first", "both", "mean"]
    assert tiny_data == [{"source": "tfds", "data_dir": "somewhere", "seed": 3}]


def test_the_seed_is_one_that_the_card_does_not_have(zoo_says, published):
    folder = published(0.1, 0.5, 0.9)
    assert zoo_says("reproduce", folder, "--json", "--seed", 1).json["seed"] == 1
    assert zoo_says("reproduce", folder, "--json").json["seed"] == 3


def test_scores_outside_end_with_exit_code_1_and_a_sentence(zoo_says, published):
    said = zoo_says("reproduce", published(-5.0, -5.001, -5.002))
    assert said.code == 1
    assert "Not reproduced: 3 of 3 scores lie outside (first, both, mean)." in said.out
    assert said.out.count("OUTSIDE") == 3
    assert "error" not in said.err


def test_scores_inside_are_said_to_be(zoo_says, published):
    said = zoo_says("reproduce", published(0.1, 0.5, 0.9))
    assert "Reproduced: every score lies" in said.out
    assert "OUTSIDE" not in said.out and "Not like for like" not in said.out


def test_other_epochs_and_other_data_are_not_like_for_like(zoo_says, published):
    folder = published(0.1, 0.5, 0.9)
    manifest = read_manifest(folder)
    manifest["dataset"]["sizes"]["train"] = 9600
    (folder / FILE_NAME).write_text(json.dumps(manifest))
    said = zoo_says("reproduce", folder, "--epochs", 1)
    text = " ".join(said.out.split())
    assert "Not like for like: 1 epochs at most, the card's runs had 2." in text
    assert "Not like for like: data of 96 training rows, the card's runs had 9,600." in text


def test_a_card_of_one_run_is_refused_before_training(published, mistake, no_training):
    message = mistake("reproduce", published(0.5))
    assert "scores of two or more seeds" in message and "seeds [0]" in message


def test_a_card_without_results_is_refused(entry, mistake):
    assert "two or more seeds" in mistake("reproduce", entry)
