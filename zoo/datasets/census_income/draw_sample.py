"""Draws the embedded sample from the official files.

    python -m zoo.datasets.census_income.draw_sample --data-dir DIR --seed 0 --output FILE

DIR holds census-income.data and census-income.test, with or without `.gz`. The train rows are
drawn from the train file, the validation and test rows from the two halves that `columns.halves`
makes of the test file; each stratum (income x never married) keeps its share to within a row.
The rows of a stratum are ordered by the SHA-256 of seed, file and row number and the first are
taken, so that the same seed gives the same bytes with every version of Python and NumPy.
"""

import argparse
import hashlib
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from zoo.datasets.census_income import sample, source
from zoo.datasets.census_income.columns import halves, make_labels, make_strata, parse

SIZES = {"train": 40_000, "validation": 15_000, "test": 15_000}


def allocate(counts: np.ndarray, size: int) -> np.ndarray:
    """Rows to draw of each stratum: proportional, the remainders largest first.

    Args:
        counts: rows that each stratum has.
        size: rows to draw in all, at most the sum of `counts`.

    Raises:
        ValueError: when there are not as many rows.

    Example:

    >>> allocate(np.array([70, 20, 10]), 11).tolist()
    [8, 2, 1]
    """
    if size > counts.sum():
        raise ValueError(f"`size` must be at most {counts.sum()}. Received: size={size}")
    # Integers all the way: a rounding error here would change the drawn file.
    shares, remainders = np.divmod(counts.astype(np.int64) * size, counts.sum())
    largest = np.argsort(-remainders, kind="stable")[: size - shares.sum()]
    shares[largest] += 1
    return shares


def draw(rows: np.ndarray, strata: np.ndarray, size: int, seed: int, file: str) -> np.ndarray:
    """Draws row numbers, stratified, without replacement.

    Args:
        rows: row numbers in the file to draw from.
        strata: stratum of every row of the file.
        size: rows to draw.
        seed: another seed draws other rows.
        file: name of the file, part of what is hashed.

    Returns:
        The drawn row numbers, ascending.
    """
    present, counts = np.unique(strata[rows], return_counts=True)
    drawn = []
    for stratum, share in zip(present, allocate(counts, size), strict=True):
        members = rows[strata[rows] == stratum].tolist()
        members.sort(key=lambda row: hashlib.sha256(f"{seed}:{file}:{row}".encode()).digest())
        drawn.extend(members[:share])
    return np.sort(np.array(drawn))


def draw_rows(strata: dict[str, np.ndarray], seed: int, sizes: dict[str, int]) -> dict:
    """Row numbers of the sample by split, in the file that the split is drawn from.

    Args:
        strata: stratum of every row of the files "train" and "test".
        seed: seed of the draw.
        sizes: rows of each split.
    """
    validation, test = halves(strata["test"])
    candidates = {
        "train": ("train", np.arange(len(strata["train"]))),
        "validation": ("test", validation),
        "test": ("test", test),
    }
    return {
        split: draw(rows, strata[file], sizes[split], seed, file)
        for split, (file, rows) in candidates.items()
    }


def make_sample(data_dir: str | os.PathLike, seed: int, sizes: dict[str, int] = SIZES) -> bytes:
    """The sample file of a seed.

    Args:
        data_dir: directory of the two official files.
        seed: seed of the draw; the shipped file has 0.
        sizes: rows of each split.

    Raises:
        FileNotFoundError: when a file is missing.
        ValueError: when a file is not the official one.
    """
    files = {file: parse(text) for file, text in _read_source(Path(data_dir)).items()}
    strata = {file: make_strata(make_labels(columns)) for file, columns in files.items()}
    drawn = {}
    for split, rows in draw_rows(strata, seed, sizes).items():
        columns = files["train" if split == "train" else "test"]
        drawn[split] = {name: [column[row] for row in rows] for name, column in columns.items()}
    return sample.pack(drawn)


def _read_source(data_dir):
    files = source.find(data_dir, extract=_do_not_extract) if data_dir.is_dir() else None
    if not files:
        names = " and ".join(file.name for file in source.FILES.values())
        raise FileNotFoundError(
            f"`--data-dir` must hold {names}, with or without .gz. Received: {data_dir}"
        )
    return {split: source.FILES[split].read(path).decode("ascii") for split, path in files.items()}


def _do_not_extract(path):
    raise FileNotFoundError(f"Extract the archive first. Received: {path}")


def write(content: bytes, output: Path, force: bool) -> None:
    """Writes the file whole or not at all.

    Raises:
        FileExistsError: when the file exists, unless `force`.
    """
    if output.exists() and not force:
        raise FileExistsError(f"The output exists; --force replaces it. Received: {output}")
    output.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        os.chmod(partial, 0o644)
        os.replace(partial, output)
    except BaseException:
        os.unlink(partial)
        raise


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(description="Draw the embedded sample of Census-Income.")
    parser.add_argument("--data-dir", type=Path, required=True, help="where the files lie")
    parser.add_argument("--seed", type=int, default=0, help="default 0, that of the shipped file")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / sample.FILE_NAME)
    parser.add_argument("--force", action="store_true", help="replace the output if it exists")
    options = parser.parse_args(arguments)
    try:
        if options.output.exists() and not options.force:  # Before the work, not after it.
            raise FileExistsError(f"The output exists; --force replaces it: {options.output}")
        content = make_sample(options.data_dir, options.seed)
        write(content, options.output, options.force)
    except (OSError, ValueError) as error:
        print(f"draw_sample: {error}", file=sys.stderr)
        return 1
    print(f"{options.output}: {len(content):,} bytes, {hashlib.sha256(content).hexdigest()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
