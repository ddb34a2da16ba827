"""What is shown of a model's answers: those that the model itself gives."""

import json
import shutil

import numpy as np
import pytest

import zoo
from zoo.entries.manifest import read_manifest

ROW = {"age": 38, "job": "cook"}


def outputs(folder, **x):
    values = {k: np.array(v, object if isinstance(v[0], str) else None) for k, v in x.items()}
    return zoo.load(folder).predict(values, verbose=0)


def test_the_outputs_are_the_models(zoo_says, entry):
    found = zoo_says("predict", entry, json.dumps(ROW), "--json").json["outputs"]
    expected = outputs(entry, age=[38.0], job=["cook"])
    assert set(found) == {"clicked", "kind", "price", "tags"}
    for task, values in expected.items():
        np.testing.assert_allclose(found[task], values, rtol=1e-6)


def test_columns_and_rows_of_the_same_values_are_the_same(zoo_says, entry):
    rows = [ROW, {"age": 20.5, "job": "nurse"}]
    columns = {"age": [38, 20.5], "job": ["cook", "nurse"]}
    said = [
        zoo_says("predict", entry, json.dumps(typed), "--json").json for typed in (rows, columns)
    ]
    assert said[0] == said[1]
    assert len(said[0]["outputs"]["clicked"]) == 2


def test_a_file_and_standard_input_are_read(zoo_says, entry, tmp_path, typed):
    (tmp_path / "row.json").write_text(json.dumps(ROW))
    typed(json.dumps(ROW))
    said = [
        zoo_says("predict", entry, source, "--json").json
        for source in (json.dumps(ROW), tmp_path / "row.json", "-")
    ]
    assert said[0] == said[1] == said[2]


def test_without_input_the_example_is_asked_and_shown(zoo_says, entry):
    golden = read_manifest(entry)["golden"]["output"]
    found = zoo_says("predict", entry, "--json").json["outputs"]
    for task, values in golden.items():
        np.testing.assert_allclose(found[task], values, atol=1e-5)
    said = zoo_says("predict", entry)
    assert "example, 2 rows." in said.out and '{"age": 38.0, "job": "cook"}' in said.out


@pytest.fixture
def shown(zoo_says, entry):
    """The words of the table's lines, and what the model answers."""
    said = zoo_says("predict", entry, json.dumps(ROW))
    assert (said.code, said.err) == (0, "")
    given = {task: values[0] for task, values in outputs(entry, age=[38.0], job=["cook"]).items()}
    return " ".join(said.out.split()), given


def test_a_binary_task_says_its_probability(shown):
    text, given = shown
    assert f"1 clicked {given['clicked'][0]:.1%} " in text


def test_a_categorical_task_says_its_likeliest_class(shown):
    text, given = shown
    best = int(np.argmax(given["kind"]))
    assert f" kind class {best} ({given['kind'][best]:.1%}) " in text


def test_classes_are_called_by_the_names_that_the_entry_has(zoo_says, entry, tmp_path):
    named = tmp_path / "named"
    shutil.copytree(entry, named)
    manifest = read_manifest(named) | {"classes": {"kind": ["film", "book", "song"]}}
    (named / "manifest.json").write_text(json.dumps(manifest))
    given = outputs(named, age=[38.0], job=["cook"])["kind"][0]
    text = " ".join(zoo_says("predict", named, json.dumps(ROW)).out.split())
    best = int(np.argmax(given))
    assert f" kind {('film', 'book', 'song')[best]} ({given[best]:.1%}) " in text


def test_a_regression_says_its_number(shown):
    text, given = shown
    assert f" price {given['price'][0]:.5g} " in text


def test_several_labels_say_a_probability_each(shown):
    text, given = shown
    assert f" tags label 0: {given['tags'][0]:.1%}, label 1: {given['tags'][1]:.1%}" in text


def test_every_row_is_shown(zoo_says, entry):
    said = zoo_says("predict", entry, json.dumps([ROW, {"age": 70, "job": "nurse"}]))
    text = " ".join(said.out.split())
    clicked = outputs(entry, age=[38.0, 70.0], job=["cook", "nurse"])["clicked"][:, 0]
    assert f" 1 clicked {clicked[0]:.1%} " in text and f" 2 clicked {clicked[1]:.1%} " in text


def test_a_text_is_typed_as_it_is(zoo_says, text_entry):
    found = zoo_says("predict", text_entry, "I like New", "--json").json["outputs"]
    expected = outputs(text_entry, text=["I like New"])
    for task, values in expected.items():
        np.testing.assert_allclose(found[task], values, rtol=1e-6)


def test_every_word_of_a_text_gets_its_token(zoo_says, text_entry):
    text = " ".join(zoo_says("predict", text_entry, "I like Zealand").out.split())
    given = outputs(text_entry, text=["I like Zealand"])
    vocabulary = ["", "[UNK]", "i", "like", "new", "york"]
    next_words = [vocabulary[k] for k in np.argmax(given["next_word"][0], axis=-1)]
    tags = np.argmax(given["tag"][0], axis=-1)
    words = f"I → {next_words[0]}, like → {next_words[1]}, Zealand → {next_words[2]}"
    assert f"1 next_word {words} tag I → {tags[0]}, like → {tags[1]}, Zealand → {tags[2]} " in text
    assert f"good {given['good'][0, 0]:.1%}" in text


def test_a_name_of_an_entry_may_be_mistyped(mistake):
    message = mistake("predict", "mmoe_cencus", "{}")
    assert "did you mean 'mmoe_census'?" in message


def test_a_wrong_input_is_named_before_the_model_is_loaded(mistake, entry, monkeypatch):
    monkeypatch.setattr("zoo.registry.load", None)
    message = mistake("predict", entry, '{"age": 38, "jop": "cook"}')
    assert "Received: without ['job'], with unknown ['jop']; did you mean 'job'?" in message
