import numpy as np

from zoo.datasets.columns import Categories, Split


def test_codes_point_at_the_categories():
    column = ["?", "b", "a", "b", "?"]
    coded = Categories.encode(column)
    assert coded.values == ("?", "a", "b")
    assert [coded.values[code] for code in coded.codes] == column


def test_take_forgets_categories_that_do_not_occur():
    taken = Categories.encode(["c", "a", "b", "c"]).take(np.array([3, 1]))
    assert taken.values == ("a", "c")
    assert [taken.values[code] for code in taken.codes] == ["c", "a"]


def test_take_keeps_rows_together():
    split = Split(
        {"n": np.arange(3, dtype="float32"), "c": Categories.encode(["x", "y", "z"])},
        {"t": np.array([0, 1, 0], "float32")},
    ).take(np.array([2, 1]))
    assert len(split) == 2
    assert split.inputs["n"].tolist() == [2, 1]
    assert split.inputs["c"].values == ("y", "z")
    assert split.labels["t"].tolist() == [0, 1]
