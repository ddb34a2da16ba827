"""load: from the name of a data set to its batches."""

import importlib
import os
from types import ModuleType

from zoo.datasets.dataset import Dataset
from zoo.datasets.prepared import is_prepared

# A data set is a package of this name with `make_tasks()`, `read_full(data_dir)`, and, where there
# is a sample in the package, `read_embedded()`; the readers return a dict of `Split`s. What its
# inputs are that are not numbers, `Categories` or `Words`, `make_features()` says, and which of
# them tells whose a row is, `make_row_tasks()`. With `VARIANTS`, each of these takes one of them.
# `make_class_names()` tells what classes are called.
_NAMES = (
    "census_income",
    "cmu_faces",
    "fdu_mtl",
    "movie_sentiment",
    "multi_mnist",
    "qm9",
    "school",
    "snips",
    "tox21",
)
_SOURCES = ("auto", "embedded", "tfds")


def list() -> list[str]:
    """The names that `load` accepts.

    >>> print(*list())
    census_income cmu_faces fdu_mtl movie_sentiment multi_mnist qm9 school snips tox21
    """
    return [*_NAMES]


def load(
    name: str,
    source: str = "auto",
    data_dir: str | os.PathLike | None = None,
    batch_size: int = 256,
    seed: int = 0,
    variant: str | None = None,
) -> Dataset:
    """Loads a data set, ready for `model.fit`.

    A sample in the package never uses the network; the full data do only where `data_dir` holds
    neither a prepared copy nor the source's files.

    Args:
        name: one of `list()`.
        source: "embedded", the sample inside the package, which Census-Income has; "tfds", the
            full data through TensorFlow Datasets, downloaded and prepared in `data_dir` on first
            use; "auto", the full data where `data_dir` holds a prepared copy or there is no
            sample, else the sample. The `source` attribute of what is returned tells which it was.
        data_dir: directory of TensorFlow Datasets. Default: for "tfds" its own,
            `~/tensorflow_datasets`; for "auto" none. Source files laid into
            `<data_dir>/downloads/manual` are used in place of a download.
        batch_size: rows in a batch. Default 256.
        seed: seed of the order of the train split; it does not change which rows are in it.
        variant: which of a data set that has several, see its package; default its first.

    Returns:
        A `Dataset`.

    Raises:
        ValueError: unknown name, source or variant, bad batch size or seed, damaged files.
        ImportError: the full data is asked for and TensorFlow Datasets is not installed.
        OSError: `data_dir` cannot be written, or (`ConnectionError`) the source of the full
            data cannot be reached.

    Example:

    >>> data = load("census_income", batch_size=512, seed=1)
    >>> data.source
    'embedded'
    >>> data.sizes["train"]
    40000
    >>> [task.name for task in data.tasks]
    ['income', 'never_married']
    """
    package = package_of(name)
    _check_choice("source", source, _SOURCES)
    _check_integer("batch_size", batch_size, least=1)
    _check_integer("seed", seed, least=0)
    options = variant_of(package, variant)
    has_sample = hasattr(package, "read_embedded")
    if source == "embedded" and not has_sample:
        raise ValueError(f"`source` must be 'tfds': '{name}' has no sample. Received: 'embedded'")
    if source == "auto":
        prepared = data_dir is not None and is_prepared(name, data_dir, *options)
        source = "embedded" if has_sample and not prepared else "tfds"
    if source == "embedded":
        splits = package.read_embedded(*options)
    else:
        splits = package.read_full(data_dir, *options)
    return Dataset.from_splits(
        name,
        source,
        splits,
        package.make_tasks(*options),
        batch_size,
        seed,
        features=package.make_features(*options) if hasattr(package, "make_features") else {},
        row_tasks=package.make_row_tasks(*options) if hasattr(package, "make_row_tasks") else {},
    )


def package_of(name: str) -> ModuleType:
    """The package of a data set.

    Raises:
        ValueError: for an unknown name.
    """
    _check_choice("name", name, _NAMES)
    return importlib.import_module(f"zoo.datasets.{name}")


def variant_of(package: ModuleType, chosen: str | None) -> tuple[str, ...]:
    """The chosen or first variant, as arguments of the package's functions: none without any.

    Raises:
        ValueError: for an unknown variant.
    """
    variants = getattr(package, "VARIANTS", ())
    if chosen is None:
        return variants[:1]
    _check_choice("variant", chosen, variants)
    return (chosen,)


def _check_choice(argument, value, choices):
    if value not in choices:
        raise ValueError(
            f"`{argument}` must be one of {', '.join(map(repr, choices))}. "
            f"Received: {argument}={value!r}"
        )


def _check_integer(argument, value, least):
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(
            f"`{argument}` must be an integer of at least {least}. Received: {argument}={value!r}"
        )
