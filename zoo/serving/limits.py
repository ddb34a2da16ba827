"""`Limits`: what a server grants a client."""

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a server grants a client, and how requests wait for each other.

    Args:
        max_bytes: of a request's body. All bodies that are being read may have 8 times as many.
        max_rows: of a request.
        timeout: seconds for each of: the head of a request, its body, the answer's computation,
            and the client's taking it.
        max_batch_rows: rows that are run together; 1 runs every request by itself.
        batch_wait_ms: milliseconds that a request waits for others while the model is free.
        max_waiting: rows that may wait; at least `max_rows`.
        max_connections: at a time.

    Raises:
        ValueError: for one that is not a positive number, whole where it counts something;
            `batch_wait_ms` may be 0.

    Example:

    >>> Limits(max_rows=10).max_rows
    10
    """

    max_bytes: int = 2**23
    max_rows: int = 1024
    timeout: float = 30.0
    max_batch_rows: int = 256
    batch_wait_ms: float = 0.0
    max_waiting: int = 4096
    max_connections: int = 512

    def __post_init__(self):
        for field in dataclasses.fields(self):
            _check(field.name, getattr(self, field.name), whole=field.type is int)
        if self.max_waiting < self.max_rows:
            raise ValueError(
                "`max_waiting` must be at least `max_rows`, or no request of so many rows could "
                f"wait. Received: max_waiting={self.max_waiting}, max_rows={self.max_rows}"
            )


def _check(name, value, whole):
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    least = 0 if name == "batch_wait_ms" else math.ulp(0.0)
    if not number or not math.isfinite(value) or value < least:
        raise ValueError(
            f"`{name}` must be a {'whole' if whole else 'finite'} number "
            f"{'above' if least else 'of at least'} 0. Received: {name}={value!r}"
        )
