"""The two files of the UCI archive, and how they are found in it.

What is known about them: the SHA-256 of the decompressed content of both. It was taken from a
copy of the test file that two independent publishers gave byte for byte alike, and of the train
file that came with it. The SHA-256 of the archive itself is not known; for this reason no
checksum of it is registered with TensorFlow Datasets, and what is inside is verified instead.
"""

import os
from collections.abc import Callable
from pathlib import Path

from zoo.datasets.source_file import SourceFile, found_in

URL = "https://archive.ics.uci.edu/static/public/117/census+income+kdd.zip"
HOMEPAGE = "https://archive.ics.uci.edu/dataset/117/census+income+kdd"

_ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")


FILES = {
    "train": SourceFile(
        "census-income.data",
        "3676a81db7d3528f3f8b9f3c699d0f0aa28db45e6e994fa0b8ed38327539ee86",
    ),
    "test": SourceFile(
        "census-income.test",
        "98402b1ab879573d0a7f38a699a40258080e25e33d3401e7bf9c96d3fa0fab8c",
    ),
}


def find(
    root: str | os.PathLike, extract: Callable[[Path], str | os.PathLike]
) -> dict[str, Path] | None:
    """Looks for the two files in a directory, then in the archives that lie in it.

    The publisher packs archives within an archive and has changed how; names are searched for
    instead of relying on one layout.

    Args:
        root: the directory.
        extract: extracts the archive at a path and returns the path of the directory.

    Returns:
        The path of each file by split, or `None` when one of them is nowhere.
    """
    found = found_in(root, FILES)
    if len(found) == len(FILES):
        return found
    for path in sorted(path for path in Path(root).rglob("*") if path.is_file()):
        if path.name.endswith(_ARCHIVES):
            nested = find(extract(path), extract)
            if nested:
                return nested
    return None
