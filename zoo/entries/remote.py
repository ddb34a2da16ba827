"""Entries at an address: fetched once, verified, kept in a cache that works without a network."""

import hashlib
import os
import re
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from zoo.entries.manifest import (
    FILE_NAME,
    LARGEST,
    BadEntryError,
    check_files,
    decoded_manifest,
    digest_of,
    read_limited,
)

if TYPE_CHECKING:
    from rich.console import Console

_REVISION = re.compile("[0-9a-f]{64}")
_PARTIAL = ".partial"
_LATEST = ".latest"
_LOCK = ".lock"


def fetched(
    address: str,
    revision: str | None = None,
    cache_dir: str | os.PathLike | None = None,
    offline: bool | None = None,
    console: "Console | None" = None,
) -> Path:
    """The local folder of an entry at an address: complete, every file held against its digest.

    What is in the cache is not fetched again. With a `revision`, the cache answers without
    touching the network; without one, the manifest is fetched each time, to see what is new.
    A download that broke off is resumed, by whichever process comes next; several processes
    may ask for the same entry at once.

    Args:
        address: http or https: of a folder with a manifest and the files that it lists.
        revision: SHA-256 of the manifest, 64 hexadecimal digits; None for what is there now.
        cache_dir: see `cache_folder`.
        offline: True never touches the network, and without a `revision` gives the one that the
            address had last. None asks the environment variable MTL_ZOO_OFFLINE: 1, true or yes.
        console: a `rich.console.Console` to show progress on; None for standard error.

    Raises:
        FileNotFoundError: when the address has no entry, or lacks a file of it; or when the cache
            has none and the network may not be touched.
        ConnectionError: when the address could not be reached, or broke off. A later call goes on
            where this one ended.
        BadEntryError: when what is there is not what the manifest, or `revision`, says.
        OSError: when the cache cannot be written.
        ValueError: when `address` or `revision` is none.
    """
    address = _checked_address(address)
    if revision is not None and not _REVISION.fullmatch(revision):
        raise ValueError(
            "`revision` must be the SHA-256 of a manifest, 64 hexadecimal digits in lower case. "
            f"Received: revision={revision!r}"
        )
    place = cache_folder(cache_dir) / hashlib.sha256(address.encode()).hexdigest()[:16]
    if offline is None:
        offline = os.environ.get("MTL_ZOO_OFFLINE", "").lower() in ("1", "true", "yes")
    if offline:
        return _cached(place, address, revision)
    if revision is not None and _is_whole(place / revision):
        return place / revision

    from zoo.entries import download

    try:
        content = download.content(f"{address}/{FILE_NAME}", LARGEST)
    except ConnectionError as error:
        if revision is None and (place / _LATEST).is_file():
            raise ConnectionError(
                f"{error}. The cache has what was there last: "
                "MTL_ZOO_OFFLINE=1, or offline=True, takes that"
            ) from error
        raise
    found = hashlib.sha256(content).hexdigest()
    if revision not in (None, found):
        raise BadEntryError(
            f"{address}/{FILE_NAME} must have SHA-256 {revision}, the revision that was asked for: "
            f"the entry there is another one. Received: SHA-256 {found}"
        )
    manifest = decoded_manifest(content, address)
    if not _is_whole(place / found):
        console = console or _standard_error()
        with _alone(place, address, console):
            # Another process may have been faster.
            if not _is_whole(place / found):
                _fill(place, address, content, manifest, console)
    _remember(place, found)
    return place / found


def cache_folder(cache_dir: str | os.PathLike | None = None) -> Path:
    """Where entries are kept.

    Args:
        cache_dir: wins; else the environment variable MTL_ZOO_CACHE; else `mtl-keras` where
            programs of this platform keep what they can fetch again.
    """
    given = cache_dir or os.environ.get("MTL_ZOO_CACHE")
    if given:
        return Path(given).expanduser().absolute()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", ""))
        # A relative one is to be ignored, says the standard.
        base = base if base.is_absolute() else Path.home() / ".cache"
    return base / "mtl-keras"


def _checked_address(address):
    try:
        parts = urlsplit(address)
        _ = parts.port
        # They would end up in messages.
        plain = "@" not in parts.netloc
    except (ValueError, TypeError, AttributeError):
        plain = False
    if (
        not plain
        or parts.scheme not in ("http", "https")
        or not parts.hostname
        or re.search(r"[\s\x00-\x1f?#]", address)
    ):
        raise ValueError(
            "`address` must be that of a folder, http://... or https://..., without a query and "
            f"without credentials (those belong into ~/.netrc). Received: "
            f"address={re.sub('//.*@', '//...@', str(address))!r}"
        )
    return f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}"


def _check(folder):
    """Raises what is wrong with an entry of the cache, whose folder is named by its revision."""
    path = folder / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(path)
    content = read_limited(path)
    if hashlib.sha256(content).hexdigest() != folder.name:
        raise BadEntryError(f"{FILE_NAME} must have the SHA-256 of its folder. Received: {path}")
    check_files(folder, decoded_manifest(content, str(folder)))


def _is_whole(folder):
    try:
        _check(folder)
    except (FileNotFoundError, BadEntryError):
        return False
    return True


def _cached(place, address, revision):
    remedy = f"`mtl-zoo prefetch {address}` fetches it, where there is a network"
    try:
        latest = revision or (place / _LATEST).read_text("utf-8", "replace")
        _check(place / latest)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"The entry must be in the cache to be used offline: {remedy}. "
            f"Received: address={address!r}, revision={revision!r}, cache_dir={str(place.parent)!r}"
        ) from error
    except BadEntryError as error:
        raise BadEntryError(f"The cache is damaged: {error}. {remedy}") from error
    return place / latest


def _remember(place, revision):
    """Notes what the address had last."""
    # A cache that cannot be written answers all the same.
    with suppress(OSError):
        note = place / _LATEST
        if note.is_file() and note.read_text("utf-8", "replace") == revision:
            return
        fresh = place / f"{_LATEST}-{uuid.uuid4().hex}"
        fresh.write_text(revision, "utf-8")
        os.replace(fresh, note)


@contextmanager
def _alone(place, address, console) -> Iterator[None]:
    """Keeps other processes from filling the cache from the same address.

    The lock is the operating system's: it goes with the process that holds it, however that ends.
    """
    import filelock

    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(place / _LOCK)
        try:
            lock.acquire(timeout=1)
        except filelock.Timeout:
            _say(console, f"Waiting for another process that fetches {address}")
            lock.acquire()
    except OSError as error:
        raise OSError(
            "The cache must be a folder that can be written; `cache_dir` or MTL_ZOO_CACHE names "
            f"another. Received: {str(place.parent)!r} ({error})"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _fill(place, address, content, manifest, console):
    """Fetches an entry; its folder appears by one rename, when every file is there."""
    from zoo.entries.download import download

    revision = hashlib.sha256(content).hexdigest()
    folder, partial = place / revision, place / _PARTIAL
    staged = partial / revision
    files = manifest["files"]
    with _progress(console, address, sum(file["bytes"] for file in files.values())) as advance_to:
        done = 0
        for name, expected in files.items():
            # An earlier call may have come so far.
            if not (staged / name).is_file() or digest_of(staged / name) != expected:
                (staged / name).parent.mkdir(parents=True, exist_ok=True)
                received = partial / expected["sha256"]
                url = f"{address}/{quote(name)}"
                download(url, received, expected, lambda size, done=done: advance_to(done + size))
                os.replace(received, staged / name)
            done += expected["bytes"]
            advance_to(done)
    (staged / FILE_NAME).write_bytes(content)
    if folder.exists():
        # What is there is damaged.
        shutil.rmtree(folder)
    os.replace(staged, folder)
    # Only this entry's, and nobody else holds the lock: what is left is of older revisions.
    shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _progress(console, address, total) -> Iterator[Any]:
    """A bar, where somebody looks at one; gives what moves it."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    seen = console.is_terminal or console.is_jupyter
    with Progress(*columns, console=console, transient=True, disable=not seen) as progress:
        bar = progress.add_task(f"Fetching {address}", total=total)
        yield lambda size: progress.update(bar, completed=size)


def _say(console, text):
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _standard_error():
    from rich.console import Console

    return Console(stderr=True)
