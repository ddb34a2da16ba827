"""The full data: prepared once through TensorFlow Datasets, then read from disk."""

import functools
import os
from typing import Any

import numpy as np

from zoo.datasets.columns import Split
from zoo.datasets.multi_mnist.files import FASHION, MNIST
from zoo.datasets.prepared import prepared


def read_full(data_dir: str | os.PathLike | None, variant: str) -> dict[str, Split]:
    """The three splits of a variant; prepares them first where they are not.

    Args:
        data_dir: directory of TensorFlow Datasets; `None` for its default.
        variant: which images and protocol.

    Raises:
        ImportError: when TensorFlow Datasets is not installed.
        OSError: when `data_dir` cannot be written or, `ConnectionError`, the source not be reached.
        ValueError: when the files are not the official ones.
    """
    folder, base = ("fashion-mnist", FASHION) if "fashion" in variant else ("mnist", MNIST)
    file = "train-labels-idx1-ubyte"
    by_hand = "the four files of MNIST into {manual}/mnist, those of Fashion-MNIST into "
    by_hand += "{manual}/fashion-mnist, and call again."
    names = (f"/{folder}/{file}", f"/{folder}/{file}.gz")
    make = functools.partial(make_builder, variant)
    builder = prepared(make, data_dir, f"{base}{file}.gz", by_hand, names)
    return {split: _read(builder, split) for split in ("train", "validation", "test")}


def make_builder(variant: str, data_dir: str | os.PathLike | None) -> Any:
    """The builder of TensorFlow Datasets, which is imported here and not before."""
    from zoo.datasets.multi_mnist.multi_mnist import MultiMnist

    return MultiMnist(config=variant, data_dir=data_dir)


def _read(builder, split):
    batches = list(builder.as_dataset(split=split, batch_size=4096).as_numpy_iterator())
    columns = {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
    labels = {task: columns[task].astype("int32") for task in ("left", "right")}
    return Split({"image": columns["image"]}, labels)
