"""`Connection`: HTTP with a client that may be slow, silent or wrong."""

import asyncio
import http
import json
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from zoo.serving.limits import Limits

GRACE = 0.25
"""Seconds that a server which stops grants idle clients: a request may be on its way."""
LINGER = 5.0
"""Seconds for which the rest of a refused body is thrown away: a client that is still sending
would else not read why it was refused."""


class Connection(H11Protocol):
    """uvicorn's HTTP/1.1, where no client holds a connection longer than it may.

    uvicorn bounds how long a connection may be idle between requests. Here a clock runs as well
    while a request's head is awaited, the rest of a body that was refused already, and the
    client's reading of an answer; on its end the connection is closed. Refusals that never reach
    the application are `{"error": reason}` too.

    Args:
        limits: `timeout` and `max_connections` are what counts here.
        uvicorns: what uvicorn gives a protocol.
    """

    def __init__(self, limits: Limits, **uvicorns: Any):
        super().__init__(**uvicorns)
        self.limits = limits
        self._awaited: str | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._started = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        """A client is here; one too many is sent away."""
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self._refuse(503, f"The server has {self.limits.max_connections} connections already")
            return
        self._look()

    def data_received(self, data: bytes) -> None:
        """A client sends."""
        self._started = True
        super().data_received(data)
        self._look()

    def eof_received(self) -> None:
        """A client has sent all that it will; what it has asked is answered."""
        if self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.SEND_RESPONSE:
            self.send_400_response("The request ended before its body did")

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._stop_clock()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """An answer is written, if not taken."""
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        """The client does not take its answer as fast as it is written."""
        super().pause_writing()
        self._look()

    def shutdown(self) -> None:
        """The server stops: the request that is being answered, or on its way, is the last."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(GRACE, self._shut_down)
        else:
            super().shutdown()

    def _shut_down(self):
        if not self.transport.is_closing():
            super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no HTTP."""
        self._refuse(400, msg)

    def _refuse(self, status, reason):
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            # An answer is on its way already.
            self.transport.close()
            return
        content = json.dumps({"error": reason}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(content)).encode()),
            (b"connection", b"close"),
        ]
        phrase = http.HTTPStatus(status).phrase.encode()
        response = h11.Response(status_code=status, headers=headers, reason=phrase)
        for event in (response, h11.Data(data=content), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()

    # -- patience

    def _look(self):
        """Starts a clock where something else is awaited of the client than before."""
        awaited = None if self.transport.is_closing() else self._what_is_awaited()
        if awaited == self._awaited:
            return
        self._stop_clock()
        self._awaited = awaited
        if awaited is not None:
            seconds = self.limits.timeout
            if awaited == "rest":
                seconds = min(seconds, LINGER)
            self._clock = self.loop.call_later(seconds, self._out_of_patience)

    def _what_is_awaited(self):
        if self.transport.get_write_buffer_size():
            return "taking"
        if self.conn.their_state is h11.IDLE:
            # Between requests, uvicorn's own clock runs.
            return None if self.timeout_keep_alive_task is not None else "head"
        if self.conn.their_state is h11.SEND_BODY and self.cycle.response_complete:
            return "rest"
        return None

    def _stop_clock(self):
        self._awaited = None
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _out_of_patience(self):
        awaited, self._awaited, self._clock = self._awaited, None, None
        if self.transport.is_closing() or awaited != self._what_is_awaited():
            self._look()
        elif awaited == "taking":
            # To close would wait for the client once more.
            self.transport.abort()
        elif awaited == "head" and self._started:
            self._refuse(408, f"A request's head may take {self.limits.timeout:g} s")
        else:
            self.transport.close()
