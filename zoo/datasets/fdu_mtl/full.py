"""The full data: prepared once through TensorFlow Datasets, then read from disk."""

import os
from typing import Any

import numpy as np

from zoo.datasets.columns import Split
from zoo.datasets.fdu_mtl.files import HOMEPAGE, source_files
from zoo.datasets.prepared import prepared


def read_full(data_dir: str | os.PathLike | None = None) -> dict[str, Split]:
    """The three splits; prepares them first where they are not.

    Args:
        data_dir: directory of TensorFlow Datasets; `None` for its default.

    Raises:
        ImportError: when TensorFlow Datasets is not installed.
        OSError: when `data_dir` cannot be written or, `ConnectionError`, the source not be reached.
        ValueError: when the files are not the official ones.
    """
    first = next(iter(source_files().values()))
    by_hand = f"the 32 files of data/fdu-mtl of {HOMEPAGE} into {{manual}} and call again."
    builder = prepared(make_builder, data_dir, first.url, by_hand, (first.name, f"{first.name}.gz"))
    return {split: _read(builder, split) for split in ("train", "validation", "test")}


def make_builder(data_dir: str | os.PathLike | None) -> Any:
    """The builder of TensorFlow Datasets, which is imported here and not before."""
    from zoo.datasets.fdu_mtl.fdu_mtl import FduMtl

    return FduMtl(data_dir=data_dir)


def _read(builder, split):
    rows = list(builder.as_dataset(split=split).as_numpy_iterator())
    return Split(
        {
            "text": np.array([row["text"] for row in rows], object),
            "domain": np.array([row["domain"] for row in rows], "int32"),
        },
        {"positive": np.array([row["positive"] for row in rows], "float32")},
    )
