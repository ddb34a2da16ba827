"""`Application`: the routes of a served model, and what is refused."""

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from zoo.serving.batcher import Batcher
from zoo.serving.limits import Limits
from zoo.serving.refusal import Refusal, shortly
from zoo.serving.served_model import ServedModel
from zoo.serving.tensor_format import NotFinite

_BODIES = 8  # Of the greatest size, that may be read at a time.
_SHORT = 2**15  # Bytes of a body that are read, or numbers that are written, without a thread.
_KEYS = {"signature_name", "instances", "inputs"}
_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


class Application:
    """What a model answers over HTTP: TensorFlow Serving's REST API for one model.

    `asgi` is what a server runs. Every refusal is `{"error": reason}`.

    Args:
        model: that is served.
        limits: what a client may ask for.

    Example:

        Application(ServedModel("served", "shop"), Limits()).asgi
    """

    def __init__(self, model: ServedModel, limits: Limits):
        self.model, self.limits = model, limits
        self.draining = False
        """Whether the server is about to stop: what is answered now is a connection's last."""
        self._held = 0
        self.asgi = Starlette(
            routes=self._routes(),
            exception_handlers={
                Refusal: self._refused,
                HTTPException: self._not_routed,
                ClientDisconnect: self._gone,
                Exception: self._failed,
            },
            lifespan=self._running,
        )
        # A path is right, or it is not there.
        self.asgi.router.redirect_slashes = False

    def _routes(self):
        routes = [Route("/healthz", self._health), Route("/readyz", self._readiness)]
        for path in ("/v1/models/{name}", "/v1/models/{name}/versions/{version}"):
            # All methods: a path that ends in ":predict" would else be a model of that name.
            routes.append(Route(f"{path}:{{verb}}", self._verb, methods=_METHODS))
            routes.append(Route(path, self._status))
            routes.append(Route(f"{path}/metadata", self._metadata))
        return routes

    @asynccontextmanager
    async def _running(self, _) -> AsyncIterator[None]:
        limits = self.limits
        batching = {
            "max_rows": limits.max_batch_rows,
            "wait": limits.batch_wait_ms / 1000,
            "max_waiting": limits.max_waiting,
        }
        # One long text at a time becomes objects, which are many times its size.
        with ThreadPoolExecutor(1, "json") as self._thread:
            async with Batcher(self.model.ask, **batching) as self._batcher:
                yield

    # -- routes

    async def _health(self, request: Request) -> Response:
        return self._answered({"status": "alive"})

    async def _readiness(self, request: Request) -> Response:
        if self.draining:
            raise Refusal(503, "The server is about to stop")
        return self._answered({"status": "ready"})

    async def _status(self, request: Request) -> Response:
        self._check_model(request)
        return self._answered(self.model.status())

    async def _metadata(self, request: Request) -> Response:
        self._check_model(request)
        return self._answered(self.model.metadata())

    async def _verb(self, request: Request) -> Response:
        verb = request.path_params["verb"]
        if verb != "predict":
            raise Refusal(404, f"':predict' is what is served. Received: {shortly(f':{verb}')}")
        if request.method != "POST":
            raise HTTPException(405, headers={"Allow": "POST"})
        self._check_model(request)
        return await self._predict(request)

    async def _predict(self, request):
        body = await self._body(request)
        signature, question = await self._in_thread(len(body), self._asked, body)
        try:
            async with asyncio.timeout(self.limits.timeout):
                outputs = await self._batcher.ask(signature.name, question.arrays, question.rows)
        except TimeoutError:
            raise Refusal(
                504, f"An answer may take {self.limits.timeout:g} s. Received: none by then"
            ) from None
        size = sum(values.size for values in outputs.values())
        return self._sent(
            await self._in_thread(size, lambda: _json(signature.answer(outputs, question)))
        )

    def _check_model(self, request):
        name, version = request.path_params["name"], request.path_params.get("version")
        if name != self.model.name:
            raise Refusal(404, f"The model must be '{self.model.name}'. Received: {shortly(name)}")
        if version is not None and version != str(self.model.version):
            raise Refusal(
                404,
                f"The version of '{name}' must be {self.model.version}. "
                f"Received: {shortly(version)}",
            )

    async def _in_thread(self, size, work, *arguments):
        if size <= _SHORT:
            return work(*arguments)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, work, *arguments)

    def _asked(self, body):
        request = _parsed(body)
        signature = self.model.signature(request.get("signature_name", ""))
        return signature, signature.question(request, self.limits.max_rows)

    # -- a request's body

    async def _body(self, request):
        limits = self.limits
        encoding = request.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise Refusal(
                415,
                f"A body must be sent as it is. Received: Content-Encoding {shortly(encoding)}",
                {"Accept-Encoding": "identity"},
            )
        self._check_size(int(request.headers.get("content-length", 0)))
        body = bytearray()
        try:
            async with asyncio.timeout(limits.timeout):
                async for chunk in request.stream():
                    self._held += len(chunk)
                    body += chunk
                    self._check_size(len(body))
                    self._check_held()
        except TimeoutError:
            raise Refusal(
                408,
                f"A body may take {limits.timeout:g} s. Received: {len(body)} bytes by then",
            ) from None
        finally:
            self._held -= len(body)
        return bytes(body)

    def _check_size(self, size):
        if size > self.limits.max_bytes:
            raise Refusal(
                413, f"A body may have {self.limits.max_bytes} bytes. Received: {size} or more"
            )

    def _check_held(self):
        if self._held > _BODIES * self.limits.max_bytes:
            raise Refusal(503, "Too many long requests at a time", {"Retry-After": "1"})

    # -- answers

    def _answered(self, value):
        return self._sent(_json(value))

    def _sent(self, content, status=200, headers=None):
        headers = dict(headers or {})
        if self.draining:
            headers["Connection"] = "close"
        return Response(content, status, headers, media_type="application/json")

    def _refused(self, request: Request, refusal: Refusal) -> Response:
        content = _json({"error": refusal.reason})
        return self._sent(content, refusal.status, refusal.headers)

    def _not_routed(self, request: Request, error: HTTPException) -> Response:
        allowed = (error.headers or {}).get("Allow")
        reason = f"{shortly(request.url.path)} is not served: see /v1/models/{self.model.name}"
        if error.status_code == 405:
            reason = f"The method must be {allowed}. Received: {request.method}"
        return self._sent(_json({"error": reason}), error.status_code, error.headers)

    def _failed(self, request: Request, error: Exception) -> Response:
        # What failed is on standard error; it is none of a client's business.
        return self._sent(_json({"error": "The server failed to answer"}), 500)

    def _gone(self, request: Request, error: ClientDisconnect) -> Response:
        # Nobody reads it.
        return self._sent(b"", 400)


def _parsed(body: bytes) -> dict[str, Any]:
    """A request's JSON, with TensorFlow Serving's NaN, Infinity and -Infinity.

    Raises:
        Refusal: 400.
    """
    try:
        request = json.loads(body.decode(), parse_constant=NotFinite)
    except RecursionError:
        raise Refusal(400, "The body's lists and objects are nested too deeply") from None
    except ValueError as error:
        raise Refusal(400, f"The body must be JSON, in UTF-8. Received: {error}") from None
    if type(request) is not dict:
        raise Refusal(400, f"The body must be a JSON object. Received: {shortly(request)}")
    if unknown := sorted(request.keys() - _KEYS):
        raise Refusal(
            400, f"The body may have {sorted(_KEYS)}. Received: {shortly(unknown)} beside them"
        )
    return request


def _json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
