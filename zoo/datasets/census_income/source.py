"""The two files of the UCI archive: how they are found, opened and verified.

What is known about them: the SHA-256 of the decompressed content of both. It was taken from a
copy of the test file that two independent publishers gave byte for byte alike, and of the train
file that came with it. The SHA-256 of the archive itself is not known; for this reason no
checksum of it is registered with TensorFlow Datasets, and what is inside is verified instead.
"""

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

URL = "https://archive.ics.uci.edu/static/public/117/census+income+kdd.zip"
HOMEPAGE = "https://archive.ics.uci.edu/dataset/117/census+income+kdd"

_ARCHIVES = (".tar.gz", ".tgz", ".tar", ".zip")


@dataclass(frozen=True)
class SourceFile:
    """One official file.

    Args:
        name: file name in the archive, where it may be followed by ".gz".
        sha256: digest of the decompressed content.
        rows: lines in it.
    """

    name: str
    sha256: str
    rows: int


FILES = {
    "train": SourceFile(
        "census-income.data",
        "3676a81db7d3528f3f8b9f3c699d0f0aa28db45e6e994fa0b8ed38327539ee86",
        199_523,
    ),
    "test": SourceFile(
        "census-income.test",
        "98402b1ab879573d0a7f38a699a40258080e25e33d3401e7bf9c96d3fa0fab8c",
        99_762,
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
    inside = [path for path in sorted(Path(root).rglob("*")) if path.is_file()]
    found = {}
    for split, file in FILES.items():
        paths = [path for path in inside if path.name in (file.name, file.name + ".gz")]
        if paths:
            found[split] = paths[0]
    if len(found) == len(FILES):
        return found
    for path in inside:
        if path.name.endswith(_ARCHIVES):
            nested = find(extract(path), extract)
            if nested:
                return nested
    return None


def read_verified(path: Path, file: SourceFile) -> str:
    """Text of one official file, after its digest was compared.

    Args:
        path: the file, compressed if its name ends with ".gz".
        file: what it must be.

    Raises:
        ValueError: when the content is not that of the official file.
    """
    with path.open("rb") as stream:
        content = _decompressed(stream, path)
    digest = hashlib.sha256(content).hexdigest()
    if digest != file.sha256:
        raise ValueError(
            f"The content of {path.name} must be that of the official {file.name}: "
            f"{file.rows:,} lines, SHA-256 {file.sha256}. The file is damaged or of another "
            f"version; remove it and fetch it again. Received: SHA-256 {digest}, path={path}"
        )
    return content.decode("ascii")


def _decompressed(stream: BinaryIO, path: Path) -> bytes:
    content = stream.read()
    if not path.name.endswith(".gz"):
        return content
    try:
        return gzip.GzipFile(fileobj=io.BytesIO(content)).read()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path.name} is no complete gzip file. Received: path={path}") from error
