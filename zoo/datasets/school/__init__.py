"""School: the exam scores of 15,362 students of 139 schools, a regression task a school.

The tasks are rows: the input "school" says whose a student is, the label "exam_score" is 1 to 70.
The input "student" are the 28 columns of the published file, `files.COLUMNS`: 25 zeros and ones,
two percentages of the school, given to a model as shares, and a last one that is always 1, the bias
of linear models. In a school of some 110 students many differ in nothing but the score. Papers
report the explained variance on random quarters of each school (Argyriou et al. 2008); the quarter
here is always the same, see `split`. It matters whose variance: least squares over all students
explain 35 % of the variance of the test's scores, and 22 % of that within schools. Preparing the
data needs SciPy, the extra "matlab", and TensorFlow Datasets; reading them again only the latter.
"""

import os
from typing import Any

from zoo.datasets.columns import Split


def make_tasks() -> tuple:
    """The one output, as a fresh object."""
    from mtl_keras.tasks import RegressionTask

    return (RegressionTask("exam_score"),)


def make_features() -> dict[str, Any]:
    """The columns as they are, but for percentages: these become shares, 0 to 1."""
    from zoo.datasets.school.files import COLUMNS
    from zoo.features import Numeric

    variance = [100.0**2 if name.startswith("percent") else 1.0 for name in COLUMNS]
    shape = (len(COLUMNS),)
    return {"student": Numeric(mean=[0.0] * len(COLUMNS), variance=variance, shape=shape)}


def make_row_tasks() -> dict[str, tuple[str, ...]]:
    """The input that says whose a row is, and names of the tasks that it tells apart."""
    return {"school": tuple(f"school_{number}" for number in range(139))}


def read_full(data_dir: str | os.PathLike | None) -> dict[str, Split]:
    """The splits of the full data; prepares them in `data_dir` where they are not."""
    from zoo.datasets.school.full import read_full

    return read_full(data_dir)
