"""The full data: prepared once through TensorFlow Datasets, then read from disk."""

import os
from typing import Any

import numpy as np

from zoo.datasets.columns import Split
from zoo.datasets.prepared import prepared
from zoo.datasets.qm9.files import UNIT, WHEEL, source_files
from zoo.datasets.qm9.properties import PROPERTIES, make_labels

_READ_BATCH = 4096


def read_full(data_dir: str | os.PathLike | None = None) -> dict[str, Split]:
    """The three splits; prepares them first where they are not.

    Args:
        data_dir: directory of TensorFlow Datasets; `None` for its default.

    Raises:
        ImportError: when TensorFlow Datasets is not installed.
        OSError: when `data_dir` cannot be written or, `ConnectionError`, the source not be reached.
        ValueError: when the wheel is not the official one.
    """
    file = source_files()["wheel"]
    by_hand = f"{file.name} of {WHEEL} into {{manual}} and call again."
    builder = prepared(make_builder, data_dir, file.url, by_hand, (f"/{file.name}",))
    return {split: _read(builder, split) for split in ("train", "validation", "test")}


def make_builder(data_dir: str | os.PathLike | None) -> Any:
    """The builder of TensorFlow Datasets, which is imported here and not before."""
    from zoo.datasets.qm9.qm9 import Qm9

    return Qm9(data_dir=data_dir)


def _read(builder, split):
    import tensorflow_datasets as tfds

    columns = {name: [] for name in ("numbers", "positions", *PROPERTIES)}
    batches = builder.as_dataset(
        split=split,
        batch_size=_READ_BATCH,
        # Reading several shards at a time would mix their rows.
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        # All are bytes: NumPy takes a batch of them at once, TFDS would take them one by one.
        decoders={name: tfds.decode.SkipDecoding() for name in columns},
    )
    for batch in batches.as_numpy_iterator():
        for name, values in columns.items():
            values.append(_decoded(batch[name], builder.info.features[name]))
    columns = {name: np.concatenate(values) for name, values in columns.items()}
    numbers = columns.pop("numbers").astype("int32")
    positions = columns.pop("positions").astype("float32") / np.float32(UNIT)
    return Split({"numbers": numbers, "positions": positions}, make_labels(columns, numbers))


def _decoded(examples, feature):
    return np.frombuffer(b"".join(examples), feature.np_dtype).reshape(-1, *feature.shape)
