"""Servers of an invented model on the loopback, in a thread of the test."""

import contextlib
import json
import signal
import socket
import threading
from http.client import HTTPConnection

import numpy as np
import pytest

from conformance.raw_http import PATH, PATIENCE
from zoo.serving.limits import Limits
from zoo.serving.refusal import Refusal
from zoo.serving.served_model import ServedModel
from zoo.serving.server import Server, bound
from zoo.serving.signature import Signature
from zoo.serving.tensor_format import TensorFormat


class Doubling(ServedModel):
    """Doubles numbers, as "y"; the answer to one is held, to others an error."""

    def __init__(self):
        self.name, self.version = "double", 3
        self.signatures = {
            "serving_default": self._signature("serving_default", (None,)),
            # As long as the client asks for: an answer that fills every buffer.
            "long": self._signature("long", (None, None)),
        }
        self._definitions = {}
        self.free = threading.Event()
        self.asked = []

    def _signature(self, name, shape):
        x = TensorFormat("x", "float", np.dtype("float32"), (None,))
        y = TensorFormat("y", "float", np.dtype("float32"), shape)
        return Signature(name, [x], [y], None)

    def ask(self, signature, arrays):
        x = arrays["x"]
        self.asked.append(x.tolist())
        if -1 in x:
            assert self.free.wait(PATIENCE)
        if -2 in x:
            raise Refusal(400, "The model cannot take this: -2")
        if -3 in x:
            raise KeyError("a secret of the server")
        return {"y": 2 * x if signature != "long" else np.zeros((len(x), int(x[0])), "float32")}


class InThread:
    """A server of `Doubling` in a thread of this process."""

    def __init__(self, **limits):
        self.model = Doubling()
        self.ready = threading.Event()
        self.server = Server(self.model, Limits(**limits), self.ready.set)
        socket = bound("127.0.0.1", 0)
        self.address = socket.getsockname()
        self.thread = threading.Thread(target=self.server.run, args=([socket],))
        self.thread.start()
        assert self.ready.wait(PATIENCE)

    def stop(self):
        """What a signal does."""
        self.server.handle_exit(signal.SIGTERM, None)

    def ask(self, x, **more):
        """The status and the JSON of the answer to a request of its own connection."""
        return self.send(json.dumps({"inputs": x} | more))

    def send(self, body, method="POST", path=PATH, headers=None):
        connection = HTTPConnection(*self.address, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def socket(self):
        return socket.create_connection(self.address, PATIENCE)

    def lives(self):
        return self.ask([4.0]) == (200, {"outputs": [8.0]})


@pytest.fixture
def in_thread():
    """Starts servers of `Doubling` with these limits; stops them in the end."""
    with contextlib.ExitStack() as stack:

        def start(**limits):
            served = InThread(**limits)
            stack.callback(served.thread.join, PATIENCE)
            stack.callback(served.stop)
            stack.callback(served.model.free.set)
            return served

        yield start
