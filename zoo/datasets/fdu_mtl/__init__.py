"""FDU-MTL: the sentiment of 31,780 reviews of 16 domains, a task each on texts of its own.

The tasks are rows: the input "domain" says whose a review is, the label "positive" what it thinks.
Training files' last 200 rows are the validation split, as with the data's publishers. Reading the
data needs TensorFlow Datasets; there is no sample in the package, as no licence is stated for
the reviews.
"""

import os
from typing import Any

from zoo.datasets.columns import Split

ROW_TASKS = {"domain": 16}
"""The input that says whose a row is, and how many tasks it tells apart."""


def make_tasks() -> tuple:
    """The one output, as a fresh object."""
    from mtl_keras.tasks import BinaryTask

    return (BinaryTask("positive"),)


def make_features() -> dict[str, Any]:
    """A text of 256 words: nine of ten are shorter than 285."""
    from zoo.features import Text

    return {"text": Text(sequence_length=256)}


def read_full(data_dir: str | os.PathLike | None) -> dict[str, Split]:
    """The splits of the full data; prepares them in `data_dir` where they are not."""
    from zoo.datasets.fdu_mtl.full import read_full

    return read_full(data_dir)
