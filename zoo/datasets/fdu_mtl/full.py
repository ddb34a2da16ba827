"""The full data: prepared once through TensorFlow Datasets, then read from disk."""

import os
from functools import partial
from typing import Any

import numpy as np

from zoo.datasets.columns import Split
from zoo.datasets.fdu_mtl.files import DOMAINS, HOMEPAGE, source_files
from zoo.datasets.prepared import prepared


def read_full(data_dir: str | os.PathLike | None, variant: str) -> dict[str, Split]:
    """The three splits; prepares them first where they are not.

    Args:
        data_dir: directory of TensorFlow Datasets; `None` for its default.
        variant: how the domains are told apart, by an input or by which labels are there.

    Raises:
        ImportError: when TensorFlow Datasets is not installed.
        OSError: when `data_dir` cannot be written or, `ConnectionError`, the source not be reached.
        ValueError: when the files are not the official ones.
    """
    first = next(iter(source_files().values()))
    by_hand = f"the 32 files of data/fdu-mtl of {HOMEPAGE} into {{manual}} and call again."
    make = partial(make_builder, variant)
    builder = prepared(make, data_dir, first.url, by_hand, (first.name, f"{first.name}.gz"))
    read = _as_rows if variant == "rows" else _as_outputs
    return {split: read(*_columns(builder, split)) for split in ("train", "validation", "test")}


def make_builder(variant: str, data_dir: str | os.PathLike | None) -> Any:
    """The builder of TensorFlow Datasets, one for all variants, imported here and not before."""
    from zoo.datasets.fdu_mtl.fdu_mtl import FduMtl

    return FduMtl(data_dir=data_dir)


def _columns(builder, split):
    rows = list(builder.as_dataset(split=split).as_numpy_iterator())
    types = {"text": object, "domain": "int32", "positive": "float32"}
    return [np.array([row[name] for row in rows], dtype) for name, dtype in types.items()]


def _as_rows(text, domain, positive):
    return Split({"text": text, "domain": domain}, {"positive": positive})


def _as_outputs(text, domain, positive):
    labels = {
        name: np.where(domain == k, positive, np.float32("nan")) for k, name in enumerate(DOMAINS)
    }
    return Split({"text": text}, labels)
