"""Files over HTTP: never more bytes than expected, resumed where they broke off, verified."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3

from zoo.entries.manifest import BadEntryError, digest_of

PATIENCE = (10, 30)
"""Seconds until a server that cannot be connected to, or that falls silent, counts as lost."""
PAUSES = (0.5, 1, 2)
"""Seconds before each further try."""
REDIRECTS = 5
"""So many times a server may point elsewhere."""

_BLOCK = 2**14
# What another try may mend: time-outs, too many requests, errors of the server.
_PASSING = (408, 425, 429, 500, 502, 503, 504)


class _PassingError(Exception):
    """A download broke off; another try may succeed."""


class _Session(requests.Session):
    def get_redirect_target(self, resp):
        # requests itself would read the body of a redirect, however long that is.
        return None


def content(url: str, most: int) -> bytes:
    """A small file.

    Args:
        url: http or https.
        most: bytes that it may have.

    Raises:
        FileNotFoundError: when there is none.
        ConnectionError: when it could not be fetched.
        BadEntryError: when it is larger.
    """

    def attempt():
        with _opened(url) as response:
            return b"".join(_blocks(response, url, most))

    return _tried(attempt, url)


def download(url: str, path: Path, expected: Mapping[str, Any], show: Callable[[int], Any]) -> None:
    """Fetches a file, or what is missing of it: bytes that `path` has are not asked for again.

    A file that was put together from several answers and has the wrong digest is fetched anew,
    once. What broke off stays at `path`; what is wrong does not.

    Args:
        url: http or https.
        path: where it shall be.
        expected: its "sha256" and "bytes".
        show: called with the number of bytes that are there.

    Raises:
        FileNotFoundError: when there is none.
        ConnectionError: when it could not be fetched.
        BadEntryError: when it is not what is expected.
    """
    size = expected["bytes"]
    for last in (False, True):
        joined = _tried(lambda: _completed(url, path, size, show), url)
        found = digest_of(path)
        if found == expected:
            return
        path.unlink()
        if last or not joined:
            raise BadEntryError(
                f"{url} must have {size:,} bytes and SHA-256 {expected['sha256']}, says the "
                f"manifest: it is damaged or of another revision. Received: {found['bytes']:,} "
                f"bytes, SHA-256 {found['sha256']}"
            )


def _tried(attempt, url):
    """What `attempt` returns, at last."""
    for pause in (*PAUSES, None):
        try:
            return attempt()
        except _PassingError as error:
            if pause is None:
                raise ConnectionError(
                    f"{url} could not be fetched in {len(PAUSES) + 1} tries ({error})"
                ) from error
            time.sleep(pause)


def _completed(url, path, size, show):
    """Whether the file, which now has its size, was put together from several answers."""
    have = path.stat().st_size if path.exists() else 0
    if have == size:
        return True
    if have > size:
        path.unlink()
        have = 0
    with _opened(url, have) as response:
        if response.status_code != 200 and not _begins_at(have, response):
            # From zero, or never: without a range, no server may answer so.
            path.unlink(missing_ok=True)
            raise _PassingError(f"it answers {response.status_code} to bytes from {have:,} on")
        if response.status_code == 200:
            have = 0
            _check_length(response, url, size)
        joined = have > 0
        show(have)
        try:
            with path.open("ab" if joined else "wb") as file:
                for block in _blocks(response, url, size - have):
                    file.write(block)
                    # A process that is killed leaves what it received.
                    file.flush()
                    have += len(block)
                    show(have)
        except BadEntryError:
            path.unlink()
            raise
    if have < size:
        raise _PassingError(f"it ended after {have:,} of {size:,} bytes")
    return joined


def _begins_at(start, response):
    given = re.match(r"bytes (\d{1,19})-", response.headers.get("Content-Range", ""))
    return given is not None and int(given[1]) == start


def _check_length(response, url, size):
    length = response.headers.get("Content-Length", "")
    # As text: a server may send more digits than an integer may have.
    if length.isdecimal() and length != str(int(size)):
        raise BadEntryError(
            f"{url} must have {size} bytes, says the manifest. Received: {length[:20]} bytes"
        )


def _blocks(response, url, most) -> Iterator[bytes]:
    for block in response.iter_content(_BLOCK):
        most -= len(block)
        if most < 0:
            raise BadEntryError(f"{url} has more bytes than it may have: {-most:,} or more")
        yield block


@contextmanager
def _opened(url, start=0) -> Iterator[requests.Response]:
    # Compressed bytes could become any number of bytes, and ranges would count them.
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with _Session() as session, _followed(session, url, headers) as response:
            _check_answer(response, url)
            yield response
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        # An address that is none stays so.
        if isinstance(error, ValueError):
            raise ConnectionError(f"{url} could not be fetched ({error})") from error
        raise _PassingError(error) from error


def _followed(session, url, headers):
    """The answer behind redirects."""
    place = url
    for _ in range(REDIRECTS + 1):
        response = session.get(
            place, headers=headers, stream=True, timeout=PATIENCE, allow_redirects=False
        )
        if not response.is_redirect:
            return response
        response.close()
        target = response.headers["Location"]
        allowed = ("https",) if urlsplit(place).scheme == "https" else ("http", "https")
        try:
            target = urljoin(place, target)
            fine = urlsplit(target).scheme in allowed
        except ValueError:
            fine = False
        if not fine:
            raise ConnectionError(
                f"{url} must not lead to anything but {' and '.join(allowed)}. "
                f"Received: a redirect to {target[:200]}"
            )
        place = target
    raise ConnectionError(f"{url} was redirected more than {REDIRECTS} times")


def _check_answer(response, url):
    status = response.status_code
    if status in _PASSING:
        raise _PassingError(f"the server answers {status} {response.reason}")
    if status in (404, 410):
        raise FileNotFoundError(f"There is no {url} (the server answers {status})")
    # 416: a range that cannot be; another request will be without.
    if status not in (200, 206, 416):
        raise ConnectionError(
            f"{url} could not be fetched: the server answers {status} {response.reason}"
        )
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise ConnectionError(f"{url} must be sent as it is. Received: encoding {encoding[:50]!r}")
