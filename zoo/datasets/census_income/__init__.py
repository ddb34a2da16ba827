"""Census-Income (KDD): two tasks on 299,285 people of the US Current Population Survey, 1994-95.

The tasks are income over 50,000 dollars (6.2 % of the train split) and never married (43.3 %);
the inputs are the 38 columns of `columns.INPUTS`, 7 numbers and 31 categories. What is an input,
what is a label and how the official test file is halved stands in `columns`. The rows come from
the embedded sample (`sample`) or, in full, through TensorFlow Datasets (`full`).
"""

import os

from zoo.datasets.columns import Split


def make_tasks():
    """The two tasks, as fresh objects."""
    from mtl_keras.tasks import BinaryTask
    from zoo.datasets.census_income.columns import LABELS

    return tuple(BinaryTask(name) for name in LABELS)


def read_embedded() -> dict[str, Split]:
    """The splits of the sample inside the package."""
    from zoo.datasets.census_income.sample import read_sample

    return read_sample()


def read_full(data_dir: str | os.PathLike | None) -> dict[str, Split]:
    """The splits of the full data; prepares them in `data_dir` where they are not."""
    from zoo.datasets.census_income.full import read_full

    return read_full(data_dir)
