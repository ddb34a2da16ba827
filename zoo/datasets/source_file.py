"""SourceFile: one file of a publisher, found, opened and verified."""

import gzip
import hashlib
import io
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class SourceFile:
    """One official file.

    Args:
        name: file name, which may be followed by ".gz" where the file lies; after a folder and
            "/" where several files have one name.
        sha256: digest of the decompressed content.
        url: where it can be fetched; None where it comes in an archive.
    """

    name: str
    sha256: str
    url: str | None = None

    def among(self, paths: Iterable[Path]) -> Path | None:
        """The first of `paths` that has its name."""
        ends = (f"/{self.name}", f"/{self.name}.gz")
        return next((path for path in paths if path.as_posix().endswith(ends)), None)

    def read(self, path: str | os.PathLike) -> bytes:
        """Its content, decompressed, after the digest was compared.

        Raises:
            ValueError: when the content is not that of the official file.
        """
        path = Path(path)
        content = _decompressed(path)
        digest = hashlib.sha256(content).hexdigest()
        if digest != self.sha256:
            raise ValueError(
                f"The content of {path.name} must be that of the official {self.name}: "
                f"SHA-256 {self.sha256}. The file is damaged or of another "
                f"version; remove it and fetch it again. Received: SHA-256 {digest}, path={path}"
            )
        return content


def contents(dl_manager: Any, files: Mapping[Any, SourceFile]) -> dict[Any, bytes]:
    """Key to verified content: of files in the manual folder if all are there, else downloaded.

    Args:
        dl_manager: the download manager of a TensorFlow Datasets builder.
        files: key to file.
    """
    try:
        paths = found_in(dl_manager.manual_dir, files)
    except AssertionError:  # How TFDS says that there is no such folder, or an empty one.
        paths = {}
    if len(paths) < len(files):
        paths = dl_manager.download({key: file.url for key, file in files.items()})
    return {key: file.read(paths[key]) for key, file in files.items()}


def found_in(directory: str | os.PathLike, files: Mapping[str, SourceFile]) -> dict[str, Path]:
    """Key to path of those of `files` that lie in a directory or below it."""
    inside = [path for path in sorted(Path(directory).rglob("*")) if path.is_file()]
    paths = {key: file.among(inside) for key, file in files.items()}
    return {key: path for key, path in paths.items() if path}


def _decompressed(path):
    content = path.read_bytes()
    # A download has another name.
    if not (path.name.endswith(".gz") or content.startswith(b"\x1f\x8b")):
        return content
    try:
        return gzip.GzipFile(fileobj=io.BytesIO(content)).read()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path.name} is no complete gzip file. Received: path={path}") from error
