"""The file of the school data, its columns, and how it is read."""

import csv
import io
from importlib import resources

import numpy as np

from zoo.datasets.source_file import SourceFile

HOMEPAGE = "https://github.com/jiayuzhou/MALSAR"

COLUMNS = (
    "year_1985",
    "year_1986",
    "year_1987",
    "percent_free_meals",
    "percent_band_1",
    "female",
    "male",
    "band_3",
    "band_1",
    "band_2",
    "born_in_britain_or_ireland",
    "african",
    "arab",
    "bangladeshi",
    "caribbean",
    "greek",
    "indian",
    "pakistani",
    "south_east_asian",
    "turkish",
    "other",
    "mixed_school",
    "boys_school",
    "girls_school",
    "maintained_school",
    "church_of_england_school",
    "roman_catholic_school",
    "one",
)
"""What the 28 columns are. The file names none: these follow the codes of the Inner London
Education Authority's data, which it was made of. Bands are those of verbal reasoning, 1 the best;
15 students have none. Percentages are of a school's students in a year: those who get free meals,
and those in band 1."""


def source_files() -> dict[str, SourceFile]:
    """The one file, as listed in `checksums.tsv`."""
    listed = (resources.files(__package__) / "checksums.tsv").read_text("ascii")
    ((url, _, sha256, name),) = csv.reader(listed.splitlines(), delimiter="\t")
    return {"school": SourceFile(name, sha256, url=url)}


def parsed(content: bytes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Columns (students, 28) and scores (students,) of each school, uint8.

    Raises:
        ImportError: when SciPy is not installed.
        ValueError: when a school's arrays have other shapes.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ImportError(
            f'Files of MATLAB need SciPy: pip install "mtl-keras[matlab]". Received: {error}'
        ) from error
    cells = loadmat(io.BytesIO(content))
    schools = list(zip(cells["X"].flat, cells["Y"].flat, strict=True))
    for columns, scores in schools:
        if columns.shape[1:] != (len(COLUMNS),) or scores.shape != (len(columns), 1):
            raise ValueError(
                f"School: X must hold (students, {len(COLUMNS)}) numbers a school and Y as many "
                f"scores. Received: shapes {columns.shape} and {scores.shape}"
            )
    return [(columns, scores[:, 0]) for columns, scores in schools]
