"""Outputs that appear whole or not at all."""

import errno
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


@contextmanager
def atomic_replacement(path: str | os.PathLike) -> Iterator[Path]:
    """A temporary path to write a file to; on success it takes the place of `path`.

    Until then `path` stays what it was. The file is on the disk before it gets its name, so that
    neither a killed process nor a power cut leaves half of one. When the block raises, nothing
    is left; a process that is killed in it leaves `.partial-<name>`, which the next one overwrites:
    two processes must not write one path at a time.

    Args:
        path: the file, in a folder that exists. A link stays a link to the file that it names.

    Raises:
        OSError: when the file cannot be written, with the system's number of the error.

    Example:

    >>> file = Path(tempfile.mkdtemp()) / "out.txt"
    >>> for text in ("old", "new"):
    ...     with atomic_replacement(file) as temporary:
    ...         _ = temporary.write_text(text)
    >>> file.read_text()
    'new'
    """
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".partial-{path.name}")
    try:
        # Found out before the work rather than after it.
        _check_writable(path, temporary)
        yield temporary
        _synchronise(temporary)
        os.replace(temporary, path)
        _synchronise(path.parent)
    except OSError as error:
        raise _unwritten(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _check_writable(path, temporary):
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    temporary.touch()


def _synchronise(path):
    if os.name != "posix" and path.is_dir():
        # Windows opens no folders.
        return
    descriptor = os.open(path, os.O_RDWR if path.is_file() else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritten(path, error):
    kept = "What it held before is kept. " if path.is_file() else ""
    message = (
        f"`filepath` could not be written: {error.strerror or error}. {kept}"
        f"Received: filepath={str(path)!r}"
    )
    return OSError(message) if error.errno is None else OSError(error.errno, message)
