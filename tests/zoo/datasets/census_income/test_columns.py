import numpy as np
import pytest

from zoo.datasets.census_income.columns import (
    CATEGORICAL,
    COLUMNS,
    INPUTS,
    NUMERIC,
    TASKS,
    halves,
    make_labels,
    make_strata,
    parse,
)


def test_every_column_is_an_input_or_left_out_for_a_reason():
    assert len(COLUMNS) == len(set(COLUMNS)) == 42
    assert len(NUMERIC) == 7 and len(CATEGORICAL) == 31
    assert set(COLUMNS) - set(INPUTS) == {
        "education",
        "marital_stat",
        "income_50k",
        "instance_weight",
    }


def test_parse_strips_the_spaces_around_values():
    line = ", ".join([f"a b{i} " for i in range(41)] + ["50000+."]) + "\n"
    columns = parse(line * 2)
    assert list(columns) == list(COLUMNS)
    assert columns["age"] == ["a b0", "a b0"]
    assert columns["income_50k"] == ["50000+.", "50000+."]


@pytest.mark.parametrize("text", ["", "1, 2, 3\n", "1," * 50 + "\n"])
def test_lines_of_another_length_are_refused(text):
    with pytest.raises(ValueError, match=r"42 values each.*Received"):
        parse(text)


def test_labels_and_strata():
    labels = make_labels(
        {
            "income_50k": ["50000+.", "- 50000.", "50000+."],
            "marital_stat": ["Never married", "Divorced", "Widowed"],
        }
    )
    assert labels["income"].tolist() == [1, 0, 1]
    assert labels["never_married"].tolist() == [1, 0, 0]
    assert make_strata(labels).tolist() == [3, 0, 2]


def test_college_is_an_associate_degree_at_least():
    education = [
        "Associates degree-academic program",
        "Some college but no degree",
        "Doctorate degree(PhD EdD)",
        "High school graduate",
    ]
    columns = {
        "income_50k": ["50000+."] * 4,
        "marital_stat": ["Divorced"] * 4,
        "education": education,
    }
    labels = make_labels(columns, TASKS["three_tasks"])
    assert list(labels) == ["income", "never_married", "college"]
    assert labels["college"].tolist() == [1, 0, 1, 0]
    assert labels["college"].dtype == "float32"


def test_halves_are_disjoint_complete_and_equal_within_each_stratum():
    strata = np.random.default_rng(0).integers(0, 4, 1001)
    first, second = halves(strata)
    assert sorted([*first, *second]) == list(range(1001))
    counts = [np.bincount(strata[half], minlength=4) for half in (first, second)]
    assert set(counts[0] - counts[1]) <= {0, 1}
