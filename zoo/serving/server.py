"""`Server`: starts to serve a model, and stops without losing a request."""

import asyncio
import contextlib
import math
import signal
import socket
import types
from collections.abc import Callable
from functools import partial

import uvicorn

from zoo.serving.application import Application
from zoo.serving.connection import Connection
from zoo.serving.limits import Limits
from zoo.serving.served_model import ServedModel

IDLE = 60
"""Seconds that a connection may be idle between requests."""
_HEAD = 2**14  # Bytes of a request's head.


class Server(uvicorn.Server):
    """A model behind HTTP, until a signal comes.

    SIGTERM and SIGINT end it: nothing is accepted any more, what is accepted is answered, and
    `run` returns. A second SIGINT does not wait for answers.

    Args:
        model: that is served.
        limits: what a client may ask for.
        ready: called once requests are answered.

    Example:

        Server(ServedModel("served", "shop"), Limits()).run([bound("127.0.0.1", 8501)])
    """

    def __init__(
        self, model: ServedModel, limits: Limits, ready: Callable[[], None] = lambda: None
    ):
        self.application = Application(model, limits)
        self._ready = ready
        super().__init__(
            uvicorn.Config(
                self.application.asgi,
                http=partial(Connection, limits),
                ws="none",
                lifespan="on",
                loop="asyncio",
                log_level="error",
                access_log=False,
                proxy_headers=False,
                server_header=False,
                h11_max_incomplete_event_size=_HEAD,
                timeout_keep_alive=IDLE,
                # Reading and answering have their own; this is for clients that take no answer.
                timeout_graceful_shutdown=math.ceil(3 * limits.timeout),
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to accept; then says so."""
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accepts nobody any more, and answers who was accepted."""
        accepted = await self._last_clients(sockets or ())
        adopted = asyncio.gather(*map(self._adopt, accepted))
        # Not before: a client that is told to connect anew must be refused, not cut off.
        self.application.draining = True
        await super().shutdown(sockets)
        await adopted

    async def _last_clients(self, sockets):
        """Stops listening; gives who has connected by then, and would be cut off by that."""
        loop = asyncio.get_running_loop()
        for listening in sockets:
            # Not on Windows, whose loop has no readers.
            with contextlib.suppress(NotImplementedError):
                loop.remove_reader(listening)
        # asyncio takes two steps to accept somebody, and drops them if it is closed in between.
        for _ in range(2):
            await asyncio.sleep(0)
        accepted = [own for listening in sockets for own in _waiting(listening)]
        for server in self.servers:
            server.close()
        return accepted

    async def _adopt(self, accepted):
        make = partial(
            self.config.http_protocol_class,
            config=self.config,
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )
        _, connection = await asyncio.get_running_loop().connect_accepted_socket(make, accepted)
        connection.shutdown()

    def handle_exit(self, sig: int, frame: types.FrameType | None) -> None:
        """Ends the server in good order; uvicorn's own would raise the signal again at the end."""
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True
        self.should_exit = True


def _waiting(listening):
    """The clients that have connected, and were not accepted yet."""
    while True:
        try:
            accepted, _ = listening.accept()
        except OSError:
            # None is left; or no more files may be open.
            return
        accepted.setblocking(False)
        yield accepted


def bound(host: str, port: int) -> socket.socket:
    """A socket at this address that does not listen yet: clients are refused, not kept waiting.

    Args:
        host: name or address.
        port: 0 for a free one.

    Raises:
        OSError: for an address that is taken, or none of this machine.

    Example:

    >>> with bound("127.0.0.1", 0) as found:
    ...     found.getsockname()[0]
    '127.0.0.1'
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
        try:
            # An address that a server has just left is free.
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
        except OSError:
            found.close()
            raise
    except OSError as error:
        raise OSError(
            f"`host` and `port` must be a free address of this machine ({error.strerror}). "
            f"Received: host={host!r}, port={port}"
        ) from error
    return found
