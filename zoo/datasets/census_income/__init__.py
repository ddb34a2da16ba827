"""Census-Income (KDD): tasks on 299,285 people of the US Current Population Survey, 1994-95.

The tasks are income over 50,000 dollars (6.2 % of the train split) and never married (43.3 %),
and, in the variant "three_tasks", college, at least an associate degree (19.6 %); the inputs of
both variants are the 38 columns of `columns.INPUTS`, 7 numbers and 31 categories. What is an input,
what is a label and how the official test file is halved stands in `columns`. The rows come from
the embedded sample (`sample`) or, in full, through TensorFlow Datasets (`full`).
"""

import os

from zoo.datasets.columns import Split

VARIANTS = ("two_tasks", "three_tasks")
"""The first one is the default."""


def make_tasks(variant: str) -> tuple:
    """The tasks of a variant, as fresh objects."""
    from mtl_keras.tasks import BinaryTask
    from zoo.datasets.census_income.columns import TASKS

    return tuple(BinaryTask(name) for name in TASKS[variant])


def read_embedded(variant: str) -> dict[str, Split]:
    """The splits of the sample inside the package."""
    from zoo.datasets.census_income.sample import read_sample

    return read_sample(variant)


def read_full(data_dir: str | os.PathLike | None, variant: str) -> dict[str, Split]:
    """The splits of the full data; prepares them in `data_dir` where they are not."""
    from zoo.datasets.census_income.full import read_full

    return read_full(data_dir, variant)
