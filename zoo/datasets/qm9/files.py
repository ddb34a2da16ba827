"""The file of QM9, a Python wheel that carries the data, and how a molecule is read from it.

The wheel of qm9pack, by the first author of the data, holds the 130,831 molecules whose geometry
is consistent (3,054 of the 133,885 are not, by the publishers' own list) as three tables.
"""

import csv
import io
import zipfile
from collections.abc import Iterator
from importlib import resources
from typing import Any

import numpy as np

from zoo.datasets.qm9.properties import PROPERTIES
from zoo.datasets.source_file import SourceFile

HOMEPAGE = "https://doi.org/10.6084/m9.figshare.c.978904.v5"
WHEEL = "https://pypi.org/project/qm9pack/1.0.3/"

MOLECULES = 130_831
ATOMS = 29
"""So many atoms has the largest molecule."""

UNIT = 1000
"""Positions are kept as integers of 1/1000 angstrom, of which a bond is 1,000 to 1,500."""

_PARTS = tuple(f"qm9pack/data/qm9_part{k}.csv" for k in (1, 2, 3))
_NUMBERS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
_NO_BRACKETS = str.maketrans("", "", "[]' ")


def source_files() -> dict[str, SourceFile]:
    """The one file, under the key "wheel", as listed in `checksums.tsv`."""
    listed = (resources.files(__package__) / "checksums.tsv").read_text("ascii")
    url, _, sha256, name = listed.rstrip("\n").split("\t")
    return {"wheel": SourceFile(name, sha256, url)}


def molecules(wheel: bytes, rows: np.ndarray) -> Iterator[dict[str, Any]]:
    """The molecules at some rows, in order, as dicts.

    "index" is the publishers' number of a molecule, "smiles" a string, "numbers" uint8 (29,),
    "positions" int16 (29, 3) in 1/1000 angstrom; a property has the name of its task and the
    value that the publishers give. Lines of other molecules are not parsed.

    Args:
        wheel: content of the file.
        rows: row numbers over all three tables, ascending.

    Raises:
        ValueError: for lines of another form.
    """
    wanted = iter(rows.tolist())
    row = next(wanted, None)
    for i, (columns, line) in enumerate(_lines(wheel)):
        if i == row:
            yield _parsed(columns, line)
            row = next(wanted, None)


def _lines(wheel):
    """All lines of the tables, each with the positions of its columns."""
    archive = zipfile.ZipFile(io.BytesIO(wheel))
    for part in _PARTS:
        with archive.open(part) as file:
            lines = csv.reader(io.TextIOWrapper(file, "ascii"))
            columns = {name: k for k, name in enumerate(next(lines))}
            yield from ((columns, line) for line in lines)


def _parsed(columns, line):
    try:
        properties = {task: float(line[columns[name]]) for task, (name, _) in PROPERTIES.items()}
        molecule = {"index": int(line[columns["Index"]]), "smiles": line[columns["SMILES"]]}
        return molecule | _atoms(line[columns["Elements"]], line[columns["XYZ_Ang"]]) | properties
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(
            f"QM9: lines must hold at most {ATOMS} atoms of H, C, N, O and F, a position for each, "
            f"and twelve properties. Received: {line[:3]} ({type(error).__name__}: {error})"
        ) from error


def _atoms(elements, xyz):
    symbols = elements.translate(_NO_BRACKETS).split(",")
    positions = np.array([float(x) for x in xyz.translate(_NO_BRACKETS).split(",")])
    positions = np.rint(positions.reshape(len(symbols), 3) * UNIT)
    if not (np.abs(positions) <= np.iinfo("int16").max).all():
        raise ValueError("a position of more than 32 angstrom")
    numbers, rounded = np.zeros(ATOMS, "uint8"), np.zeros((ATOMS, 3), "int16")
    numbers[: len(symbols)] = [_NUMBERS[symbol] for symbol in symbols]
    rounded[: len(symbols)] = positions
    return {"numbers": numbers, "positions": rounded}
