"""The full data: prepared once through TensorFlow Datasets, then read from disk."""

import os
from typing import Any

import numpy as np

from zoo.datasets.columns import Split
from zoo.datasets.prepared import prepared
from zoo.datasets.tox21.files import ASSAYS, REPOSITORY, source_files
from zoo.datasets.tox21.fingerprint import BITS


def read_full(data_dir: str | os.PathLike | None = None) -> dict[str, Split]:
    """The three splits; prepares them first where they are not.

    Args:
        data_dir: directory of TensorFlow Datasets; `None` for its default.

    Raises:
        ImportError: when TensorFlow Datasets or, to prepare them, RDKit is not installed.
        OSError: when `data_dir` cannot be written or, `ConnectionError`, the source not be reached.
        ValueError: when the file is not the official one.
    """
    file = source_files()["molecules"]
    by_hand = f"tox21.csv.gz of datasets of {REPOSITORY} into {{manual}} and call again."
    names = (f"/{file.name}", f"/{file.name}.gz")
    builder = prepared(make_builder, data_dir, file.url, by_hand, names)
    return {split: _read(builder, split) for split in ("train", "validation", "test")}


def make_builder(data_dir: str | os.PathLike | None) -> Any:
    """The builder of TensorFlow Datasets, which is imported here and not before."""
    from zoo.datasets.tox21.tox21 import Tox21

    return Tox21(data_dir=data_dir)


def _read(builder, split):
    import tensorflow_datasets as tfds

    batches = builder.as_dataset(
        split=split,
        batch_size=4096,
        # As bytes: NumPy takes a batch of them at once, TFDS would take them one by one.
        decoders={"fingerprint": tfds.decode.SkipDecoding()},
    )
    batches = list(batches.as_numpy_iterator())
    bits = b"".join(bits for batch in batches for bits in batch["fingerprint"])
    labels = {task: np.concatenate([batch[task] for batch in batches]) for task in ASSAYS}
    return Split({"fingerprint": np.frombuffer(bits, "uint8").reshape(-1, BITS)}, labels)
