"""`mtl-zoo serve` as a process, with a client for it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from http.client import HTTPConnection
from urllib.parse import urlsplit

from conformance.raw_http import PATIENCE


class ServeProcess:
    """`python -m zoo serve ...` in a process of its own, on a free port."""

    def __init__(self, *arguments, **environment):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "zoo", "serve", *map(str, arguments), "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        said = self.process.stdout.readline()
        assert said, self.process.communicate()[1]
        self.said = json.loads(said)
        self.path = urlsplit(self.said["url"]).path
        self.address = (urlsplit(self.said["url"]).hostname, urlsplit(self.said["url"]).port)

    def connection(self):
        return contextlib.closing(HTTPConnection(*self.address, timeout=PATIENCE))

    def get(self, path):
        with self.connection() as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def post(self, body, path=None, headers=None):
        with self.connection() as connection:
            content = body if isinstance(body, (str, bytes)) else json.dumps(body)
            connection.request("POST", path or f"{self.path}:predict", content, headers or {})
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def end(self, sent=signal.SIGTERM):
        """Its exit code, and what it said on standard error."""
        self.process.send_signal(sent)
        _, error = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, error

    def kill(self):
        """In the end, whatever happened."""
        self.process.kill()
        self.process.communicate()
