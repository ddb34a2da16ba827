"""What may be typed for a model's inputs, and which mistake is named how."""

import json
import re

import numpy as np
import pytest

from zoo.commands.rows import parsed

AGE = {"name": "age", "shape": [], "dtype": "float32"}
JOB = {"name": "job", "shape": [], "dtype": "string"}
IDS = {"name": "ids", "shape": [None], "dtype": "int32"}
PICTURE = {"name": "picture", "shape": [2, 1], "dtype": "uint8"}


def check(found, **expected):
    assert set(found) == set(expected)
    for name, values in expected.items():
        assert found[name].dtype == values.dtype and found[name].shape == values.shape
        assert found[name].tolist() == values.tolist()


@pytest.mark.parametrize(
    "typed",
    [
        {"age": [38, 20.5], "job": ["cook", "nurse"]},
        [{"age": 38, "job": "cook"}, {"job": "nurse", "age": 20.5}],
    ],
    ids=["columns", "rows"],
)
def test_columns_and_rows(typed):
    job = np.array(["cook", "nurse"], object)
    check(parsed(json.dumps(typed), [AGE, JOB]), age=np.float32([38, 20.5]), job=job)


def test_one_row():
    job = np.array(["cook"], object)
    check(parsed('{"age": 38, "job": "cook"}', [AGE, JOB]), age=np.float32([38]), job=job)


@pytest.mark.parametrize("typed", ['{"ids": [3, 4.0]}', '{"ids": [[3, 4]]}', '[{"ids": [3, 4]}]'])
def test_a_list_is_a_row_where_rows_are_lists(typed):
    check(parsed(typed, [IDS]), ids=np.int32([[3, 4]]))


def test_values_of_a_row_may_be_arrays():
    check(parsed('{"picture": [[1], [2]]}', [PICTURE]), picture=np.uint8([[[1], [2]]]))


@pytest.mark.parametrize(
    ("typed", "texts"),
    [
        ("good", ["good"]),
        ("[sic] good", ["[sic] good"]),
        ("12", ["12"]),
        ("good\n", ["good"]),
        ('["good", "bad"]', ["good", "bad"]),
        ('{"job": "good"}', ["good"]),
        ('[{"job": "good"}]', ["good"]),
        ("", [""]),
    ],
)
def test_where_a_text_is_all_there_is_it_may_be_typed_as_it_is(typed, texts):
    check(parsed(typed, [JOB]), job=np.array(texts, object))


@pytest.mark.parametrize(
    ("typed", "inputs", "message"),
    [
        ('{"age": 38}', [AGE, JOB], "INPUT must have the inputs .* without ['job']"),
        ('{"age": 3, "job": "x", "b": 1}', [AGE, JOB], "with unknown ['b']"),
        ('[{"age": 3}, {"agee": 3}]', [AGE], "Row 2 must have .*unknown ['agee']; did you mean"),
        ('{"age": "old"}', [AGE], "'age' must hold numbers. Received: 'old'"),
        ('{"age": [3, null]}', [AGE], "'age' must hold numbers. Received: None"),
        ('{"age": true}', [AGE], "'age' must hold numbers. Received: True"),
        ('{"age": NaN}', [AGE], "'age' must hold numbers. Received: nan"),
        ('{"age": -Infinity}', [AGE], "'age' must hold numbers. Received: -inf"),
        ('{"age": 1e40}', [AGE], "'age' must be in the range of float32. Received: [1e+40]"),
        ('{"job": 3}', [JOB], "'job' must hold texts. Received: 3"),
        ('{"ids": [3, 1.5]}', [IDS], "'ids' must hold whole numbers. Received: 1.5"),
        ('{"ids": [4000000000]}', [IDS], "'ids'.*Received: [[4000000000]]"),
        ('{"ids": [[1, 2], [3]]}', [IDS], "'ids'.*Received: [[1, 2], [3]]"),
        ('{"picture": [[300.0], [1]]}', [PICTURE], "'picture'.*Received: [[[300.0]"),
        ('{"picture": [[1, 2]]}', [PICTURE], "be of shape [2, 1] a row. Received: [1, 2]"),
        ('{"age": [3], "job": "x"}', [AGE, JOB], "Received: {'age': 'a column', 'job': 'one row'}"),
        ('{"age": [[3]]}', [AGE], "Received: {'age': '[[3]]'}"),
        ('{"age": [3], "job": ["x", "y"]}', [AGE, JOB], "Received: {'age': 1, 'job': 2}"),
        ('{"age": []}', [AGE], "one or more. Received: {'age': 0}"),
        ("[]", [AGE], "a list of rows. Received: []"),
        ("3", [AGE], "a list of rows. Received: 3"),
        ("[3]", [AGE], "Row 1 must be an object. Received: 3"),
        ("[[3]]", [JOB], "Row 1 must be an object. Received: [3]"),
        ("age 38", [AGE, JOB], "must be JSON with the inputs ['age', 'job'].*Received: 'age 38'"),
        ('{"job": "x}', [JOB], "must be JSON with the inputs ['job']"),
        ("[" * 5000, [AGE], "must be JSON .*Received: '[[["),
    ],
)
def test_a_mistake_is_named(typed, inputs, message):
    pattern = ".*".join(re.escape(part) for part in message.split(".*"))
    with pytest.raises(ValueError, match=pattern):
        parsed(typed, inputs)


def test_a_long_value_is_cut_in_the_message():
    with pytest.raises(ValueError) as error:
        parsed(json.dumps({"age": "x" * 10_000}), [AGE])
    assert len(str(error.value)) < 200


def test_a_missing_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json"):
        parsed("nowhere.json", [AGE])
