"""The full data: prepared once through TensorFlow Datasets, then read from disk."""

import os
from functools import partial
from typing import Any

import numpy as np

from zoo.datasets.cmu_faces import files
from zoo.datasets.columns import Split
from zoo.datasets.prepared import prepared


def read_full(data_dir: str | os.PathLike | None, variant: str) -> dict[str, Split]:
    """The three splits of a size; prepares them first where they are not.

    Args:
        data_dir: directory of TensorFlow Datasets; `None` for its default.
        variant: which size.

    Raises:
        ImportError: when TensorFlow Datasets is not installed.
        OSError: when `data_dir` cannot be written or, `ConnectionError`, the source not be reached.
        ValueError: when the file is not the official one.
    """
    names = files.names(variant)
    by_hand = f"{names[0]} of https://github.com/Calysto/conx-data into {{manual}} and call again."
    make = partial(make_builder, variant)
    builder = prepared(make, data_dir, files.url(variant), by_hand, [f"/{name}" for name in names])
    return {split: _read(builder, split) for split in ("train", "validation", "test")}


def make_builder(variant: str, data_dir: str | os.PathLike | None) -> Any:
    """The builder of TensorFlow Datasets, which is imported here and not before."""
    from zoo.datasets.cmu_faces.cmu_faces import CmuFaces

    return CmuFaces(config=variant, data_dir=data_dir)


def _read(builder, split):
    rows = list(builder.as_dataset(split=split).as_numpy_iterator())
    types = {"person": "int32", "pose": "int32", "sunglasses": "float32"}
    return Split(
        {"image": np.stack([row["image"] for row in rows])},
        {name: np.array([row[name] for row in rows], dtype) for name, dtype in types.items()},
    )
