"""The full data: prepared once through TensorFlow Datasets, then read from disk."""

import os
from functools import cache, partial
from typing import Any

from zoo.datasets.census_income import source
from zoo.datasets.census_income.columns import (
    INPUTS,
    LABELS,
    NUMERIC,
    TASKS,
    halves,
    make_strata,
    to_split,
)
from zoo.datasets.columns import Split
from zoo.datasets.prepared import prepared

_READ_BATCH = 4096


def read_full(data_dir: str | os.PathLike | None, variant: str) -> dict[str, Split]:
    """The three splits of the full data; prepares them first where they are not.

    Args:
        data_dir: directory of TensorFlow Datasets; `None` for its default.
        variant: which tasks.

    Raises:
        ImportError: when TensorFlow Datasets is not installed.
        OSError: when `data_dir` cannot be written or, `ConnectionError`, UCI not be reached.
        ValueError: when the files are not the official ones.
    """
    names = " and ".join(f"{file.name}.gz" for file in source.FILES.values())
    by_hand = f'{names} into {{manual}} and call again, or use the sample: source="embedded".'
    ends = [file.name + end for file in source.FILES.values() for end in ("", ".gz")]
    make = partial(make_builder, variant)
    builder = prepared(make, data_dir, source.URL, by_hand, [*ends, "census+income+kdd.zip"])
    tasks = TASKS[variant]
    labels = [LABELS[task][0] for task in tasks]
    train, test = (
        to_split(_read_columns(builder, split, (*INPUTS, *labels)), tasks)
        for split in ("train", "test")
    )
    validation_rows, test_rows = halves(make_strata(test.labels))
    return {"train": train, "validation": test.take(validation_rows), "test": test.take(test_rows)}


def make_builder(variant: str, data_dir: str | os.PathLike | None) -> Any:
    """The builder of TensorFlow Datasets, one for all variants, imported here and not before."""
    from zoo.datasets.census_income.census_income import CensusIncome

    return CensusIncome(data_dir=data_dir)


def _read_columns(builder, split, names):
    """Columns of a split in the order of the file."""
    import tensorflow_datasets as tfds

    columns = {name: [] for name in names}
    batches = builder.as_dataset(
        split=split,
        batch_size=_READ_BATCH,
        # Reading several shards at a time would mix their rows.
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )
    for batch in batches.as_numpy_iterator():
        for name, values in columns.items():
            values.extend(batch[name] if name in NUMERIC else map(_as_text, batch[name]))
    return columns


@cache
def _as_text(value):
    # Cached, so that equal categories are one string and not 200,000.
    return value.decode("ascii")
