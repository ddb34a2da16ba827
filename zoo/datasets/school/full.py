"""The full data: prepared once through TensorFlow Datasets, then read from disk."""

import os
from typing import Any

import numpy as np

from zoo.datasets.columns import Split
from zoo.datasets.prepared import prepared
from zoo.datasets.school.files import HOMEPAGE, source_files

_READ_BATCH = 4096


def read_full(data_dir: str | os.PathLike | None = None) -> dict[str, Split]:
    """The three splits; prepares them first where they are not.

    Args:
        data_dir: directory of TensorFlow Datasets; `None` for its default.

    Raises:
        ImportError: when TensorFlow Datasets or, to prepare them, SciPy is not installed.
        OSError: when `data_dir` cannot be written or, `ConnectionError`, the source not be reached.
        ValueError: when the file is not the official one.
    """
    file = source_files()["school"]
    by_hand = f"{file.name} of data of {HOMEPAGE} into {{manual}} and call again."
    builder = prepared(make_builder, data_dir, file.url, by_hand, [f"/{file.name}"])
    return {split: _read(builder, split) for split in ("train", "validation", "test")}


def make_builder(data_dir: str | os.PathLike | None) -> Any:
    """The builder of TensorFlow Datasets, which is imported here and not before."""
    from zoo.datasets.school.school import School

    return School(data_dir=data_dir)


def _read(builder, split):
    batches = builder.as_dataset(split=split, batch_size=_READ_BATCH).as_numpy_iterator()
    batches = list(batches)
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    inputs = {"student": columns["student"].astype("float32"), "school": columns["school"]}
    return Split(inputs, {"exam_score": columns["exam_score"]})
