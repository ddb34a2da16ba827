import numpy as np
import pytest

from zoo.serving.refusal import Refusal
from zoo.serving.signature import Signature
from zoo.serving.tensor_format import TensorFormat


def numbers(name, *shape):
    return TensorFormat(name, "float", np.dtype("float32"), (None, *shape))


TEXT = TensorFormat("text", "string", np.dtype(object), (None,))
ONE = Signature("one", [TEXT], [numbers("size")], None)
TWO = Signature("two", [numbers("a"), numbers("b", 2)], [numbers("c"), numbers("d", 1)], None)
SCALAR = TensorFormat("scale", "float", np.dtype("float32"), ())
NOT_BY_ROWS = Signature("scaled", [numbers("a"), SCALAR], [numbers("c")], None)


def test_rows_and_columns_are_the_same_question():
    rows = TWO.question({"instances": [{"a": 1, "b": [2, 3]}, {"b": [5, 6], "a": 4}]}, 10)
    columns = TWO.question({"inputs": {"b": [[2, 3], [5, 6]], "a": [1, 4]}}, 10)
    for name, expected in (("a", [1, 4]), ("b", [[2, 3], [5, 6]])):
        np.testing.assert_array_equal(rows.arrays[name], expected)
        np.testing.assert_array_equal(columns.arrays[name], expected)
    assert (rows.rows, columns.rows) == (2, 2)
    # What is batched with others must have its inputs in one order.
    assert list(rows.arrays) == list(columns.arrays) == ["a", "b"]


@pytest.mark.parametrize(
    "request_",
    [
        {"instances": ["x", "y"]},
        {"instances": [{"text": "x"}, {"text": "y"}]},
        {"instances": [{"b64": "eA=="}, "y"]},
        {"instances": [{"text": {"b64": "eA=="}}, {"text": "y"}]},
        {"inputs": ["x", "y"]},
        {"inputs": {"text": ["x", {"b64": "eQ=="}]}},
    ],
)
def test_the_name_of_a_single_input_may_be_left_out(request_):
    assert ONE.question(request_, 2).arrays["text"].tolist() == [b"x", b"y"]


def test_answers_are_values_by_row_or_by_output():
    outputs = {"c": np.array([1, 2], "float32"), "d": np.array([[3], [4]], "float32")}
    rows = TWO.question({"instances": [{"a": 1, "b": [2, 3]}] * 2}, 10)
    columns = TWO.question({"inputs": {"a": [1, 1], "b": [[2, 3]] * 2}}, 10)
    assert TWO.answer(outputs, rows) == {"predictions": [{"c": 1, "d": [3]}, {"c": 2, "d": [4]}]}
    assert TWO.answer(outputs, columns) == {"outputs": {"c": [1, 2], "d": [[3], [4]]}}


def test_the_name_of_a_single_output_is_left_out():
    outputs = {"size": np.array([1, 2], "float32")}
    for kind, said in (("instances", "predictions"), ("inputs", "outputs")):
        assert ONE.answer(outputs, ONE.question({kind: ["x", "y"]}, 2)) == {said: [1, 2]}


def refusal(signature, request, max_rows=10):
    with pytest.raises(Refusal) as refused:
        signature.question(request, max_rows)
    return refused.value


@pytest.mark.parametrize(
    ("signature", "request_", "said"),
    [
        (ONE, {}, 'either "instances", rows, or "inputs", columns. Received: []'),
        (ONE, {"inputs": ["x"], "instances": ["x"]}, "Received: ['inputs', 'instances']"),
        (ONE, {"instances": []}, "`instances` must be a list of rows, one or more. Received: []"),
        (ONE, {"instances": "x"}, "must be a list of rows, one or more. Received: 'x'"),
        (ONE, {"inputs": []}, "one row or more. Received: 0 rows"),
        (ONE, {"instances": [{"other": "x"}]}, "Received: without ['text'], with ['other']"),
        (ONE, {"instances": [{"text": "x"}, "y"]}, "`instances[1]` must be an object"),
        (ONE, {"instances": ["y", {"text": "x"}]}, "Received: {'text': 'x'} at [1]"),
        (TWO, {"instances": [{"a": 1, "b": [1, 2]}, {"a": 1}]}, "`instances[1]` must have exactly"),
        (TWO, {"instances": [1]}, "`instances[0]` must be an object with the inputs ['a', 'b']"),
        (TWO, {"inputs": {"a": [1]}}, "2 inputs of signature 'two'. Received: without ['b']"),
        (TWO, {"inputs": {"a": [1], "b": [[1, 2]], "z": 1}}, "Received: with ['z'] beside them"),
        (TWO, {"inputs": [1]}, "`inputs` must be an object"),
        (TWO, {"inputs": {"a": [1, 2], "b": [[1, 2]]}}, "Received: 2 of 'a', 1 of 'b'"),
        (TWO, {"instances": [{"a": "1", "b": [1, 2]}]}, "Input 'a'"),
    ],
)
def test_inputs_that_are_missing_unknown_or_wrong_are_refused(signature, request_, said):
    refused = refusal(signature, request_)
    assert refused.status == 400 and said in refused.reason


@pytest.mark.parametrize("kind", ["instances", "inputs"])
def test_too_many_rows_are_refused(kind):
    assert ONE.question({kind: ["x"] * 3}, 3).rows == 3
    refused = refusal(ONE, {kind: ["x"] * 4}, 3)
    assert (refused.status, refused.reason) == (413, "A request may have 3 rows. Received: 4")


def test_inputs_without_rows_in_common_are_asked_in_columns():
    question = NOT_BY_ROWS.question({"inputs": {"a": [1, 2], "scale": 3}}, 10)
    assert question.rows is None and not NOT_BY_ROWS.by_rows and TWO.by_rows
    outputs = {"c": np.array([3, 6], "float32")}
    assert NOT_BY_ROWS.answer(outputs, question) == {"outputs": [3, 6]}


def test_a_value_a_row_cannot_be_had_of_what_has_no_rows():
    total = Signature("total", [numbers("a")], [SCALAR], None)
    question = total.question({"instances": [1, 2]}, 10)
    with pytest.raises(Refusal, match="Output 'scale' has no value a row: ask with \"inputs\""):
        total.answer({"scale": np.array(3, "float32")}, question)
