"""Outputs that appear whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def atomic_output(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path to write a new file or folder to; it becomes `path` on success.

    It lies beside `path`, so that the last step is one rename. When the block raises,
    nothing is left, nor any folder that was made to hold it.

    Args:
        path: where the output shall be; must not exist, unless it is an empty folder.

    Raises:
        FileExistsError: when `path` exists.
        OSError: when the folder that holds `path` cannot be made or written.

    Example:

    >>> folder = Path(tempfile.mkdtemp())
    >>> with atomic_output(folder / "out.txt") as temporary:
    ...     _ = temporary.write_text("whole")
    >>> (folder / "out.txt").read_text()
    'whole'
    """
    path = Path(path).absolute()
    check_new(path)
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        workplace = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    except OSError as error:
        raise OSError(
            f"`path` must be in a folder that can be written ({error.strerror}). "
            f"Received: path={str(path)!r}"
        ) from error
    try:
        yield workplace / path.name
        check_new(path)
        os.replace(workplace / path.name, path)
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
        for folder in made:
            # The innermost first; the output itself, if it is there, holds them all.
            with suppress(OSError):
                folder.rmdir()


def check_new(path: str | os.PathLike) -> None:
    """Raises FileExistsError when `path` exists and is not an empty folder."""
    path = Path(path)
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.exists():
        raise FileExistsError(
            f"`path` must not exist yet, nothing is overwritten. Received: path={str(path)!r}"
        )
