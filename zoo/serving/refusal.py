"""`Refusal`: a request that is answered by a reason."""

import reprlib
from collections.abc import Mapping


class Refusal(Exception):
    """What a client is told in place of an answer.

    Args:
        status: of HTTP, 400 or more.
        reason: what was expected, and what came.
        headers: further ones of the response.

    Example:

    >>> str(Refusal(413, "too many rows"))
    'too many rows'
    """

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None):
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = dict(headers or {})


def shortly(value: object, most: int = 80) -> str:
    """A value as it is written, cut where it is long or deep.

    >>> shortly([1] * 100)
    '[1, 1, 1, 1, 1, 1, ...]'
    >>> shortly("x" * 1000, 12)
    "'xxx...xxxx'"
    """
    # Not `repr`: it would write all of it first, and fail where lists are nested too deeply.
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = most
    text = short.repr(value)
    return text if len(text) <= most else f"{text[:most]}..."
