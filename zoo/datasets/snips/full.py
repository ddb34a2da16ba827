"""The full data: prepared once through TensorFlow Datasets, then read from disk."""

import os
from typing import Any

import numpy as np

from zoo.datasets.columns import Split
from zoo.datasets.prepared import prepared
from zoo.datasets.snips.files import HOMEPAGE, LENGTH, source_files
from zoo.datasets.words import Words, frequent


def read_full(data_dir: str | os.PathLike | None = None) -> dict[str, Split]:
    """The three splits; prepares them first where they are not.

    Args:
        data_dir: directory of TensorFlow Datasets; `None` for its default.

    Raises:
        ImportError: when TensorFlow Datasets is not installed.
        OSError: when `data_dir` cannot be written or, `ConnectionError`, the source not be reached.
        ValueError: when the files are not the official ones.
    """
    file = source_files()["train", "seq.in"]
    by_hand = f"the folder data/snips of {HOMEPAGE} into {{manual}} and call again."
    names = (f"/{file.name}", f"/{file.name}.gz")
    builder = prepared(make_builder, data_dir, file.url, by_hand, names)
    rows = {
        split: list(builder.as_dataset(split=split).as_numpy_iterator())
        for split in ("train", "validation", "test")
    }
    vocabulary = frequent(row["text"] for row in rows["train"])
    return {split: _split(rows[split], vocabulary) for split in rows}


def make_builder(data_dir: str | os.PathLike | None) -> Any:
    """The builder of TensorFlow Datasets, which is imported here and not before."""
    from zoo.datasets.snips.snips import Snips

    return Snips(data_dir=data_dir)


def _split(rows, vocabulary):
    texts = np.array([row["text"] for row in rows], object)
    slots = np.full((len(rows), LENGTH), -1, "int32")
    for labels, row in zip(slots, rows, strict=True):
        labels[: len(row["slots"])] = row["slots"]
    return Split(
        {"text": Words(texts, vocabulary, LENGTH, len(vocabulary) + 2)},
        {"intent": np.array([row["intent"] for row in rows], "int32"), "slots": slots},
    )
