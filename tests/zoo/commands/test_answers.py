"""Every kind of answer in words."""

import keras
import numpy as np
import pytest

import mtl_keras as mtl
import zoo
from zoo.commands.answers import Words, said, words_of
from zoo.features import Numeric, Text


@pytest.mark.parametrize(
    ("task", "output", "expected"),
    [
        (mtl.BinaryTask("a"), [0.125], "12.5%"),
        (mtl.CategoricalTask("a", 3), [0.2, 0.1, 0.7], "class 2 (70.0%)"),
        (mtl.MultiLabelTask("a", 2), [0.5, 1.0], "label 0: 50.0%, label 1: 100.0%"),
        (mtl.RegressionTask("a"), [123456.789], "1.2346e+05"),
        (mtl.RegressionTask("a", dim=2), [-1.5, 20], "-1.5, 20"),
        (mtl.DirectionTask("a"), [0, 0.6, 0.8], "0, 0.6, 0.8"),
        (mtl.TokenTask("a", 2), [[0.1, 0.9], [0.6, 0.4]], "1 0"),
        (
            mtl.CategoricalTask("a", 2, positions=2),
            [[[1, 0], [1, 0]], [[0, 1], [1, 0]]],
            "2 x 2 pixels: class 0 at 75%, class 1 at 25%",
        ),
        (
            mtl.RegressionTask("a", positions=2),
            [[[1.0], [2.0], [6.0]]],
            "1 x 3 pixels: 1 to 6, mean 3",
        ),
    ],
)
def test_an_answer_of_a_kind(task, output, expected):
    assert said(task, np.array(output, "float64")) == expected


def test_classes_are_words_where_there_are_as_many():
    words = Words([["a", "b"], ["c"]], ["", "[UNK]", "c"])
    output = np.eye(3)
    assert said(mtl.TokenTask("next", 3), output, 0, words) == "a → , b → [UNK]"
    assert said(mtl.TokenTask("next", 3), output[::-1], 1, words) == "c → c"
    assert said(mtl.TokenTask("tag", 4), np.eye(4)[:3], 1, words) == "c → 0"


def model(**features):
    return zoo.shared_trunk([mtl.BinaryTask("good")], features, trunk=[2])


def texts(*values):
    return np.array(values, object)


@pytest.mark.parametrize(
    ("standardize", "text", "expected"),
    [
        (None, "new york Zealand", ["new", "york", "Zealand"]),
        ("lower", "New  YORK  zealand", ["New", "YORK", "zealand"]),
        ("lower_and_strip_punctuation", "New York", ["New", "York"]),
        # Nothing is left of the dash: what was typed would stand beside others' answers.
        ("lower_and_strip_punctuation", "New - York", ["new", "york"]),
        ("lower", "one new new york york", ["one", "new", "new"]),
        ("lower", "", []),
    ],
)
def test_the_words_are_those_that_the_model_reads(standardize, text, expected):
    feature = Text(("new", "york"), sequence_length=3, standardize=standardize)
    words = words_of(model(text=feature), {"text": texts("york", text)})
    assert words.rows == [["york"], expected]
    assert words.vocabulary == ["", "[UNK]", "new", "york"]


def test_without_one_text_there_are_no_words():
    feature = Text(("new", "york"), sequence_length=3)
    x = {"age": np.ones(1, "float32")}
    assert words_of(model(age=Numeric(0.0, 1.0)), x) is None
    two = model(title=feature, text=feature)
    assert words_of(two, {"title": texts("new"), "text": texts("york")}) is None
    keras.backend.clear_session()
