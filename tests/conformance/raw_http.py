"""HTTP as bytes on a socket: what no client library would send."""

import json
import time

PATH = "/v1/models/double:predict"
PATIENCE = 60  # Seconds; a busy machine starts a process slowly.


def request(body, path=PATH, headers="", length=None):
    """The bytes of a request."""
    body = body.encode() if isinstance(body, str) else body
    length = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Length: {length}\r\n{headers}\r\n"
    return head.encode() + body


def read_answer(connection):
    """Status, head and JSON of the next answer on a socket; None where it ends before."""
    head = b""
    # No byte more than this answer has: the next may follow.
    while not head.endswith(b"\r\n\r\n"):
        if not (part := connection.recv(1)):
            return None
        head += part
    lines = head.decode().lower().strip().split("\r\n")
    length = next(int(own.split(":")[1]) for own in lines if own.startswith("content-length"))
    body = b""
    while len(body) < length:
        body += connection.recv(length - len(body))
    return int(lines[0].split()[1]), lines[1:], json.loads(body)


def ends(connection):
    """Whether the other side ends the connection, with nothing more to say."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.005)
