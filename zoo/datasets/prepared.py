"""Full data sets: prepared once by TensorFlow Datasets, then read from disk."""

import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

_PATIENCE = 10  # Seconds until a server counts as unreachable.


def is_prepared(name: str, data_dir: str | os.PathLike, *variant: str) -> bool:
    """Whether `data_dir` holds the data set as TensorFlow Datasets leaves it.

    Args:
        name: the data set.
        data_dir: directory of TensorFlow Datasets.
        variant: one of its variants, which may be prepared apart or share one copy.
    """
    folder = Path(data_dir).expanduser() / name
    # Looks for the file that TFDS writes last, so that a look never needs TFDS.
    found = [
        path
        for place in (folder, *map(folder.joinpath, variant))
        for path in place.glob("[0-9]*/dataset_info.json")
    ]
    return bool(found)


def prepared(
    make: Callable[..., Any],
    data_dir: str | os.PathLike | None,
    url: str,
    by_hand: str,
    names: Iterable[str],
) -> Any:
    """A TensorFlow Datasets builder whose data are on disk; prepares them where they are not.

    Args:
        make: the builder's class, or a function that imports and makes it.
        data_dir: directory of TensorFlow Datasets; None for its default.
        url: where a download would begin.
        by_hand: what to do without a network, for the error; "{manual}" stands for the folder.
        names: how names of files in the manual folder end that make a download needless.

    Raises:
        ImportError: when TensorFlow Datasets is not installed.
        OSError: when `data_dir` cannot be written or, `ConnectionError`, `url` not be reached.
        ValueError: when the files are not the official ones.
    """
    try:
        builder = make(data_dir=None if data_dir is None else Path(data_dir).expanduser())
    except ImportError as error:
        raise ImportError(
            "The full data needs TensorFlow Datasets: "
            f'pip install "mtl-keras[tfds]". Received: {error}'
        ) from error
    if not builder.is_prepared():
        _check_writable(builder.data_dir_root)
        downloads = Path(builder.data_dir_root) / "downloads"
        # The manual folder may hold other data sets' files.
        at_hand = [path for path in (downloads / "manual").rglob("*") if path.is_file()]
        at_hand = any(path.as_posix().endswith(tuple(names)) for path in at_hand)
        if not at_hand and not any((downloads / builder.name).rglob("*.INFO")):
            _check_reachable(downloads / "manual", builder.name, url, by_hand)
        builder.download_and_prepare()
    return builder


def _check_writable(directory):
    try:
        Path(directory).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise OSError(
            "`data_dir` must be a directory that can be written. "
            f"Received: data_dir={str(directory)!r} ({error})"
        ) from error


def _check_reachable(manual, name, url, by_hand):
    """Fails within seconds where TFDS would retry for minutes."""
    if not url.startswith("http"):
        return
    try:
        request = urllib.request.Request(url, method="HEAD")
        urllib.request.urlopen(request, timeout=_PATIENCE).close()
    except urllib.error.HTTPError:
        pass  # The server answered; whether it gives the file, the download will say.
    except OSError as error:
        raise ConnectionError(
            f"The full data of '{name}' could not be downloaded from {url} ({error}). "
            f"Without a network, put {by_hand.format(manual=manual)}"
        ) from error
