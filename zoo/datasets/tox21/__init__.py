"""Tox21: twelve toxicity assays on 8,006 molecules, a binary task each; 17 % of labels are missing.

A molecule is a fingerprint of 1,024 bits, which `fingerprint.fingerprints` makes of a SMILES
string. Eight of the 8,014 published molecules cannot be read and are left out, see `files`. Some
molecules occur twice or more, with labels that may differ: all rows of a molecule are in one
split, and so are all molecules of one fingerprint, see `split`. Of the labels that are there
7.5 % are positive, of a single assay 3 to 16 %. Preparing the data needs RDKit, the extra "chem",
and TensorFlow Datasets; reading them again only the latter.
"""

import os
from typing import Any

from zoo.datasets.columns import Split


def make_tasks() -> tuple:
    """The twelve assays in the order of the file, as fresh objects."""
    from mtl_keras.tasks import BinaryTask
    from zoo.datasets.tox21.files import ASSAYS

    return tuple(BinaryTask(name) for name in ASSAYS)


def make_features() -> dict[str, Any]:
    """The bits as they are: standardised, one that twelve molecules have would count 23-fold."""
    from zoo.datasets.tox21.fingerprint import BITS
    from zoo.features import Numeric

    return {"fingerprint": Numeric(mean=0.0, variance=1.0, shape=(BITS,))}


def read_full(data_dir: str | os.PathLike | None) -> dict[str, Split]:
    """The splits of the full data; prepares them in `data_dir` where they are not."""
    from zoo.datasets.tox21.full import read_full

    return read_full(data_dir)
