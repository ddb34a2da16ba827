"""`server`: an entry behind HTTP on the loopback, which can be told to misbehave."""

import gzip
import hashlib
import json
import os
import random
import socket
import struct
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

MUCH = 2**26  # What "endless" sends, if it is let.


class EntryServer(ThreadingHTTPServer):
    """Serves one entry at `url`; keeps what was asked for, and how many bytes it sent."""

    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/entry"
        self.requests = []
        self.bytes_sent = 0
        self.publish(1)

    def publish(self, seed):
        """Puts another revision there, and gives its digest."""
        draw = random.Random(seed)
        self.content = {
            "architecture.json": b'{"seed": %d}' % seed,
            "trunk.weights.h5": draw.randbytes(200_000),
            "heads/income.weights.h5": draw.randbytes(3_000),
        }
        self._plans = {}
        return self.publish_manifest(files=self.listed())

    def listed(self):
        return {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in self.content.items()
            if name != "manifest.json"
        }

    def publish_manifest(self, **changes):
        """Puts a manifest there, which may lie, and gives its digest."""
        task = {"name": "income", "kind": "binary", "units": 1, "score": "auc", "direction": "max"}
        manifest = {
            "schema": 1,
            "title": "Invented",
            "tasks": [task],
            "inputs": [{"name": "age", "shape": [None], "dtype": "float32"}],
            "files": {},
            "variables": {},
            "requires": {"keras": "3.15"},
            "licences": {"data": "CC0-1.0", "weights": "CC0-1.0"},
            "golden": {"input": {}, "output": {}},
        }
        self.content["manifest.json"] = json.dumps(manifest | changes).encode()
        return hashlib.sha256(self.content["manifest.json"]).hexdigest()

    def misbehave(self, name, times=1, **how):
        """The next answers for a file are `_Handler.answer(content, **how)`."""
        self._plans.setdefault(name, []).extend([how] * times)

    def plan(self, name):
        plans = self._plans.get(name)
        return plans.pop(0) if plans else {}

    def ranges(self, name):
        """Where the requests for a file began."""
        return [start for asked, start in self.requests if asked == name]


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.removeprefix("/entry/")
        asked = self.headers["Range"]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        self.server.requests.append((name, start))
        # A client that has enough hangs up.
        with suppress(ConnectionError):
            self.answer(self.server.content.get(name), start, **self.server.plan(name))

    def answer(
        self,
        content,
        start,
        status=None,  # instead of 200 or 206
        headers=(),  # beside, or instead of, what belongs there; None for one that is left out
        body=None,  # other content
        ranges=True,  # whether a range is honoured
        sent=None,  # the connection ends after so many bytes
        reset=False,  # ends by a reset
        hold=None,  # an event: until then, nothing follows what was sent
        endless=False,
    ):
        content = content if body is None else body
        start = start if ranges else 0
        if content is None:
            return self.send_error(404)
        if start >= len(content):
            return self.send_error(416)
        fields = {"Content-Length": len(content) - start}
        if start:
            fields["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            # As servers do; a client that asks for ranges must not want it.
            content, start, fields = gzip.compress(content), 0, {"Content-Encoding": "gzip"}
        self.send_response(status or (206 if start else 200))
        for name, value in (fields | dict(headers)).items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        rest = content[start:]
        self._send(rest[:sent])
        if hold is not None:
            hold.wait(20)
            self._send(rest[sent:] if sent else b"")
        if reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            os.close(self.connection.detach())
        while endless and self.server.bytes_sent < MUCH:
            self._send(bytes(2**16))

    def _send(self, block):
        self.wfile.write(block)
        self.server.bytes_sent += len(block)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("MTL_ZOO_CACHE", "MTL_ZOO_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with EntryServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
