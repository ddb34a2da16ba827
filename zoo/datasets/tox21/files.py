"""The file of Tox21, its assays, and how a line is read."""

import csv
from importlib import resources

import numpy as np

from zoo.datasets.source_file import SourceFile

HOMEPAGE = "https://tripod.nih.gov/tox21/challenge/"
REPOSITORY = "https://github.com/deepchem/deepchem"

# Of the decompressed content; that of the archive stands in `checksums.tsv`.
_SHA256 = "1689278aa402ef8da840be1126c547253338d390cc8526714910a3b2a39fa1c9"

COLUMNS = (
    "NR-AR",
    "NR-AR-LBD",
    "NR-AhR",
    "NR-Aromatase",
    "NR-ER",
    "NR-ER-LBD",
    "NR-PPAR-gamma",
    "SR-ARE",
    "SR-ATAD5",
    "SR-HSE",
    "SR-MMP",
    "SR-p53",
)
"""The assays: seven of nuclear receptors (NR), five of the response to stress (SR)."""

ASSAYS = tuple(name.lower().replace("-", "_") for name in COLUMNS)
"""Names of the tasks, in the order of `COLUMNS`."""

UNREADABLE = (
    "TOX31563",
    "TOX24724",
    "TOX24723",
    "TOX24552",
    "TOX24622",
    "TOX7518",
    "TOX28892",
    "TOX28623",
)
"""The molecules left out: aluminium with too many bonds, which RDKit does not read. They are named
so that which rows there are does not depend on what a version of RDKit reads."""

_HEADER = [*COLUMNS, "mol_id", "smiles"]
_LABELS = {"0": 0.0, "1": 1.0, "": np.nan}


def source_files() -> dict[str, SourceFile]:
    """The one file, under the key "molecules"."""
    listed = (resources.files(__package__) / "checksums.tsv").read_text("ascii")
    url, *_ = listed.split("\t")
    return {"molecules": SourceFile("tox21.csv", _SHA256, url)}


def parsed(content: bytes) -> tuple[list[str], list[str], np.ndarray]:
    """Ids, SMILES strings, and labels (rows, 12) with NaN where one is missing, of a file's lines.

    Those of `UNREADABLE` are left out.

    Raises:
        ValueError: for lines of another form.
    """
    header, *rows = csv.reader(content.decode("ascii").splitlines())
    if header != _HEADER:
        raise ValueError(f"Tox21: the header must be {','.join(_HEADER)}. Received: {header}")
    rows = [_checked(row) for row in rows]
    rows = [row for row in rows if row[-2] not in UNREADABLE]
    labels = [[_LABELS[value] for value in row[: len(COLUMNS)]] for row in rows]
    ids, smiles = ([row[k] for row in rows] for k in (-2, -1))
    return ids, smiles, np.array(labels, "float32").reshape(-1, len(COLUMNS))


def _checked(row):
    whole = len(row) == len(_HEADER) and all(row[-2:])
    if whole and all(value in _LABELS for value in row[: len(COLUMNS)]):
        return row
    raise ValueError(
        "Tox21: lines must hold twelve labels, each 0, 1 or nothing, an id and a SMILES string. "
        f"Received: {row}"
    )
