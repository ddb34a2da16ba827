"""The protocol of Census-Income (KDD): columns, inputs, labels, and the validation split.

Inputs and labels follow the MMoE paper (Ma et al., 2018, section 6.2) as it is usually
restated: the labels are income and never married, and, of that paper's other group of tasks,
college; `education`, `marital_stat` and `income_50k` are no inputs, whichever of the tasks are
learned. `instance_weight` is a survey weight, not a feature. Integer codes are categories, read
as strings. The official train file is the train split, the official test file is halved into
validation and test, see `halves`.
"""

from collections.abc import Sequence

import numpy as np

from zoo.datasets.columns import Categories, Split

COLUMNS = (
    "age",
    "class_worker",
    "det_ind_code",
    "det_occ_code",
    "education",
    "wage_per_hour",
    "hs_college",
    "marital_stat",
    "major_ind_code",
    "major_occ_code",
    "race",
    "hisp_origin",
    "sex",
    "union_member",
    "unemp_reason",
    "full_or_part_emp",
    "capital_gains",
    "capital_losses",
    "stock_dividends",
    "tax_filer_stat",
    "region_prev_res",
    "state_prev_res",
    "det_hh_fam_stat",
    "det_hh_summ",
    "instance_weight",
    "mig_chg_msa",
    "mig_chg_reg",
    "mig_move_reg",
    "mig_same",
    "mig_prev_sunbelt",
    "num_emp",
    "fam_under_18",
    "country_father",
    "country_mother",
    "country_self",
    "citizenship",
    "own_or_self",
    "vet_question",
    "vet_benefits",
    "weeks_worked",
    "year",
    "income_50k",
)
"""The 42 columns, in the order of the file."""

NUMERIC = (
    "age",
    "wage_per_hour",
    "capital_gains",
    "capital_losses",
    "stock_dividends",
    "num_emp",
    "weeks_worked",
)
"""The columns that are numbers; all are integers in the file."""

NO_INPUTS = ("education", "marital_stat", "income_50k", "instance_weight")

INPUTS = tuple(name for name in COLUMNS if name not in NO_INPUTS)
CATEGORICAL = tuple(name for name in INPUTS if name not in NUMERIC)

COLLEGE = (
    "Associates degree-occup /vocational",
    "Associates degree-academic program",
    "Bachelors degree(BA AB BS)",
    "Masters degree(MA MS MEng MEd MSW MBA)",
    "Prof school degree (MD DDS DVM LLB JD)",
    "Doctorate degree(PhD EdD)",
)
"""An associate degree at least: what the data call "some college" ended without one."""

LABELS = {
    "income": ("income_50k", ("50000+.",)),
    "never_married": ("marital_stat", ("Never married",)),
    "college": ("education", COLLEGE),
}
"""Task name to the column and the values that make its label 1."""

TASKS = {
    "two_tasks": ("income", "never_married"),
    "three_tasks": ("income", "never_married", "college"),
}
"""Variant to its tasks."""


def parse(text: str) -> dict[str, list[str]]:
    """Columns of lines in the format of the source: comma, no header, no quotes.

    Values lose the space before or after them (one category ends with a space in the file).

    Args:
        text: complete lines, each of 42 values.

    Raises:
        ValueError: when there are no lines, or not 42 values a line.
    """
    lines = text.count("\n")
    values = text.replace(" ,", ",").replace(", ", ",").replace("\n", ",").split(",")
    values.pop()  # What follows the last newline.
    if not lines or len(values) != lines * len(COLUMNS):
        raise ValueError(
            f"Census-Income: lines must hold {len(COLUMNS)} values each. "
            f"Received: {len(values)} values in {lines} lines"
        )
    return {name: values[i :: len(COLUMNS)] for i, name in enumerate(COLUMNS)}


def to_split(columns: dict[str, Sequence], tasks: Sequence[str]) -> Split:
    """Inputs and labels of raw columns; strings, or numbers where a column is numeric."""
    rows = len(columns["age"])
    numeric = {name: np.fromiter(map(float, columns[name]), np.float32, rows) for name in NUMERIC}
    categorical = {name: Categories.encode(columns[name]) for name in CATEGORICAL}
    return Split(numeric | categorical, make_labels(columns, tasks))


def make_labels(
    columns: dict[str, Sequence[str]], tasks: Sequence[str] = TASKS["two_tasks"]
) -> dict[str, np.ndarray]:
    """Labels 0 and 1 by task, float32 (rows,)."""
    labels = {}
    for task in tasks:
        column, positive = LABELS[task]
        labels[task] = np.fromiter((value in positive for value in columns[column]), np.float32)
    return labels


def make_strata(labels: dict[str, np.ndarray]) -> np.ndarray:
    """The stratum of each row, 0 to 3: twice the income label plus the never-married label."""
    return (2 * labels["income"] + labels["never_married"]).astype(np.int64)


def halves(strata: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Halves the official test file into validation and test, without chance.

    Within each stratum, in the order of the file, the first row goes to validation, the second
    to test, the third to validation, and so on. So both halves hold as many rows of each
    stratum, but for one, whatever program reads the file.

    Args:
        strata: stratum of each row of the test file, int (rows,).

    Returns:
        Row numbers of validation and of test, each ascending.

    Example:

    >>> halves(np.array([0, 0, 1, 0, 1, 0]))
    (array([0, 2, 3]), array([1, 4, 5]))
    """
    even = np.zeros(len(strata), bool)
    for stratum in np.unique(strata):
        even[np.flatnonzero(strata == stratum)[::2]] = True
    return np.flatnonzero(even), np.flatnonzero(~even)
