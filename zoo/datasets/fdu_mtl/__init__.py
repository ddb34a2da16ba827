"""FDU-MTL: the sentiment of 31,780 reviews of 16 domains, a task each on texts of its own.

In the variant "rows" the tasks are rows: the input "domain" says whose a review is, the label
"positive" what it thinks. In the variant "outputs" each domain is a task by its name, with labels
that are missing (NaN) in the reviews of other domains, and no input tells the domain. Training
files' last 200 rows are the validation split, as with the data's publishers. Reading the data needs
TensorFlow Datasets; there is no sample in the package, as no licence is stated for the reviews.
"""

import os
from typing import Any

from zoo.datasets.columns import Split

VARIANTS = ("rows", "outputs")
"""The first one is the default."""


def make_tasks(variant: str) -> tuple:
    """The one output of all domains or the 16 of one each, as fresh objects."""
    from mtl_keras.tasks import BinaryTask
    from zoo.datasets.fdu_mtl.files import DOMAINS

    return tuple(map(BinaryTask, ("positive",) if variant == "rows" else DOMAINS))


def make_features(variant: str) -> dict[str, Any]:
    """A text of 256 words: nine of ten are shorter than 285."""
    from zoo.features import Text

    return {"text": Text(sequence_length=256)}


def make_row_tasks(variant: str) -> dict[str, tuple[str, ...]]:
    """The input that says whose a row is, and names of the tasks that it tells apart."""
    from zoo.datasets.fdu_mtl.files import DOMAINS

    return {"domain": DOMAINS} if variant == "rows" else {}


def read_full(data_dir: str | os.PathLike | None, variant: str) -> dict[str, Split]:
    """The splits of the full data; prepares them in `data_dir` where they are not."""
    from zoo.datasets.fdu_mtl.full import read_full

    return read_full(data_dir, variant)
