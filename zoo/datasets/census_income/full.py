"""The full data: prepared once through TensorFlow Datasets, then read from disk."""

import os
import tempfile
import urllib.error
import urllib.request
from functools import cache
from pathlib import Path

from zoo.datasets.census_income import source
from zoo.datasets.census_income.columns import (
    INPUTS,
    LABELS,
    NUMERIC,
    halves,
    make_strata,
    to_split,
)
from zoo.datasets.columns import Split

_PATIENCE = 10  # Seconds until the server counts as unreachable.
_READ_BATCH = 4096


def is_prepared(data_dir: str | os.PathLike) -> bool:
    """Whether `data_dir` holds the full data as TensorFlow Datasets leaves it."""
    # Looks for the file that TFDS writes last, so that the sample never needs TFDS.
    versions = Path(data_dir).expanduser() / "census_income"
    return any(versions.glob("[0-9]*/dataset_info.json"))


def read_full(data_dir: str | os.PathLike | None = None) -> dict[str, Split]:
    """The three splits of the full data; prepares them first where they are not.

    Args:
        data_dir: directory of TensorFlow Datasets; `None` for its default.

    Raises:
        ImportError: when TensorFlow Datasets is not installed.
        OSError: when `data_dir` cannot be written or, `ConnectionError`, UCI not be reached.
        ValueError: when the files are not the official ones.
    """
    builder = _make_builder(data_dir)
    if not builder.is_prepared():
        _check_writable(builder.data_dir_root)
        _check_reachable(Path(builder.data_dir_root) / "downloads")
        builder.download_and_prepare()
    train, test = (to_split(_read_columns(builder, split)) for split in ("train", "test"))
    validation_rows, test_rows = halves(make_strata(test.labels))
    return {"train": train, "validation": test.take(validation_rows), "test": test.take(test_rows)}


def _make_builder(data_dir):
    try:
        from zoo.datasets.census_income.census_income import CensusIncome
    except ImportError as error:
        raise ImportError(
            "The full data needs TensorFlow Datasets: "
            f'pip install "mtl-keras[tfds]". Received: {error}'
        ) from error
    return CensusIncome(data_dir=None if data_dir is None else Path(data_dir).expanduser())


def _check_writable(directory):
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise OSError(
            "`data_dir` must be a directory that can be written. "
            f"Received: data_dir={str(directory)!r} ({error})"
        ) from error


def _check_reachable(downloads):
    """Fails within seconds where TFDS would retry for minutes."""
    manual = downloads / "manual"
    at_hand = manual.is_dir() and any(manual.iterdir())
    at_hand = at_hand or any((downloads / "census_income").rglob("*.INFO"))  # An earlier download.
    if at_hand or not source.URL.startswith("http"):
        return
    try:
        request = urllib.request.Request(source.URL, method="HEAD")
        urllib.request.urlopen(request, timeout=_PATIENCE).close()
    except urllib.error.HTTPError:
        pass  # The server answered; whether it gives the file, the download will say.
    except OSError as error:
        names = " and ".join(f"{file.name}.gz" for file in source.FILES.values())
        raise ConnectionError(
            f"The full Census-Income data could not be downloaded from {source.URL} ({error}). "
            f"Without a network, put {names} into {manual} and call again, or use the sample: "
            'source="embedded".'
        ) from error


def _read_columns(builder, split):
    """Columns of a split in the order of the file."""
    import tensorflow_datasets as tfds

    columns = {name: [] for name in (*INPUTS, *(column for column, _ in LABELS.values()))}
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
