"""The server that API servers call: HTTP over TLS, bounded in every direction.

What belongs here: bodies, deadlines, connections, certificates as sockets see them. What does not:
what a review means (`operatorkit.webhooks.dispatch`) and where certificates come from
(`operatorkit.webhooks.certificates`).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import tempfile
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

from aiohttp import web

from operatorkit.resource import parse_duration
from operatorkit.serving import ClientErrors, Limits, Listener, bind
from operatorkit.webhooks.declaration import Webhook
from operatorkit.webhooks.dispatch import LARGE_BYTES, Answer, Dispatcher, error_answer

__all__ = ["MAX_BODY_BYTES", "WebhookServer"]

_log = logging.getLogger("operatorkit.webhooks")

MAX_BODY_BYTES = 7 * 1024 * 1024
"""An object has at most 3 MB when it is sent; a review holds two of them and little else."""

_LARGE_AT_ONCE = 8
_SMALL_AT_ONCE = 256
_BODY_SECONDS = 5.0
_MARGIN = 0.9  # of the API server's grace_period: the rest is for the way
_LONGEST = timedelta(seconds=30)
_LINGERING_SECONDS = 2.0  # for the rest of a body that was rejected
_MAX_LINE_BYTES = 4096
_MAX_HEADERS = 32  # API servers send fewer than 10


class WebhookServer:
    """Serves webhooks at `host` (None: every address) and `port` (0: a free one) from `start` to `stop`.

    `name` is that of the configurations that lead here by a URL, if any do. `reviewed` is called after each request to
    the path of a webhook: with that, the HTTP status and the duration in seconds. `in_flight` has the number of
    requests that are processed now, for each path.

    Guarantees: connections are bounded as `limits` say (`operatorkit.serving.Listener`); at most 8
    reviews of more than 64 KiB, which may have 7 MiB, and 256 smaller ones are in memory at once,
    from their bodies to their answers; every request is answered within the time that its API
    server gave, less a tenth; `use` takes effect for the next connection, and breaks none.
    """

    def __init__(
        self,
        webhooks: Iterable[Webhook],
        *,
        host: str | None = "127.0.0.1",
        port: int = 0,
        name: str | None = None,
        limits: Limits | None = None,
        reviewed: Callable[[str, int, float], None] = lambda *_: None,
    ) -> None:
        webhooks = list(webhooks)
        self._dispatcher = Dispatcher(webhooks, name=name)
        self._reviewed = reviewed
        self.in_flight: dict[str, int] = {webhook.path: 0 for webhook in webhooks}
        self._host = host
        self._port = port
        self._bound = 0
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._listener = Listener(limits=limits or Limits(), ssl_context=self._context)
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)
        self._small = asyncio.Semaphore(_SMALL_AT_ONCE)
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """Where it listens. Only between `start` and `stop`."""
        assert self._runner is not None, "start() it first"
        return self._bound

    def use(self, cert_pem: bytes, key_pem: bytes) -> None:
        """Present this certificate (and its chain) from the next connection on. Raises ssl.SSLError: not a pair."""
        with tempfile.TemporaryDirectory(
            prefix="operatorkit-webhooks-"
        ) as folder:  # readable by its owner only
            path = Path(folder) / "tls.pem"
            path.touch(mode=0o600)
            path.write_bytes(key_pem + cert_pem)
            # load_cert_chain replaces the certificate before it checks the key: on the context in
            # use, a pair that does not fit would leave a certificate without its key, and every
            # handshake after it would fail.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(
                path
            )  # a mismatch must not spoil the one in use
            self._context.load_cert_chain(path)

    async def start(self) -> None:
        """Listen. Call `use` before. Raises OSError when the port is in use."""
        listener = bind(self._host, self._port)
        app = web.Application(
            client_max_size=MAX_BODY_BYTES, middlewares=[self._listener.middleware]
        )
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            app,
            access_log=None,
            logger=ClientErrors(_log, {}),
            handle_signals=False,
            shutdown_timeout=_LONGEST.total_seconds(),
            lingering_time=_LINGERING_SECONDS,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_LINE_BYTES,
            max_headers=_MAX_HEADERS,
        )
        await runner.setup()
        assert runner.server is not None, "it was set up"
        self._runner = runner
        self._bound = int(listener.getsockname()[1])
        self._listener.start(runner.server, listener)

    async def stop(self) -> None:
        """Accept no more connections, answer what has been asked, and return."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        await self._listener.stop()
        await runner.cleanup()
        await self._listener.close_connections()
        self._dispatcher.close()

    async def _handle(self, request: web.Request) -> web.Response:
        answer = await self._measured(request)
        response = web.json_response(answer.body, status=answer.status)
        if answer.status != 200:
            _log.warning("%s %s: %s", request.method, request.path[:200], answer.body["message"])
            response.force_close()  # whoever sent that may still be sending
        return response

    async def _measured(self, request: web.Request) -> Answer:
        path = request.rel_url.raw_path
        if path not in self.in_flight:
            return await self._answer(request)
        started = asyncio.get_running_loop().time()
        self.in_flight[path] += 1
        try:
            answer = await self._answer(request)
        finally:
            self.in_flight[path] -= 1
        self._reviewed(path, answer.status, asyncio.get_running_loop().time() - started)
        return answer

    async def _answer(self, request: web.Request) -> Answer:
        started = asyncio.get_running_loop().time()
        webhook = self._dispatcher.find(request.rel_url.raw_path)
        if webhook is None:
            return error_answer(404, "NotFound", "no webhook is served at this path")
        if request.method != "POST":
            return error_answer(
                405, "MethodNotAllowed", f"{request.method} is not supported for reviews: use POST"
            )
        if request.content_type != "application/json":
            return error_answer(
                415, "UnsupportedMediaType", "the content type of a review must be application/json"
            )
        if request.headers.get("Content-Encoding", "identity") != "identity":
            return error_answer(
                415, "UnsupportedMediaType", "the body of a review must not be compressed"
            )
        if (request.content_length or 0) > MAX_BODY_BYTES:
            return _too_large()
        try:
            # The API server names its timeout in the query (admission webhooks, dispatcher.go). An
            # answer after it is worth nothing: the request was decided by failurePolicy. So the
            # decision ends with a margin, and an error says so in time.
            limit = min(_grace_period(request), webhook.timeout)
        except ValueError as error:
            return error_answer(400, "BadRequest", f"timeout: {error}")
        deadline = started + limit.total_seconds() * _MARGIN
        small = request.content_length is not None and request.content_length <= LARGE_BYTES
        try:
            async with AsyncExitStack() as turn:
                async with asyncio.timeout_at(min(deadline, started + _BODY_SECONDS)):
                    await turn.enter_async_context(self._small if small else self._large)
                    body = await request.read()
                # The permit is held until the answer is made, not until the body is read: what
                # takes memory are the objects decoded from it. Waiting for a permit counts towards
                # the deadline, because the API server's clock runs meanwhile.
                self._listener.answering(request)
                left = deadline - asyncio.get_running_loop().time()
                return await self._dispatcher.answer(webhook, body, seconds=left)
        except TimeoutError:
            return error_answer(408, "Timeout", "the body did not arrive in time")
        except web.HTTPRequestEntityTooLarge:
            return _too_large()


def _too_large() -> Answer:
    return error_answer(
        413, "RequestEntityTooLarge", f"a review has at most {MAX_BODY_BYTES} bytes"
    )


def _grace_period(request: web.Request) -> timedelta:
    """Return what the API server says that it waits, at most 30 s. Raises ValueError."""
    given = request.query.get("timeout")
    if given is None:
        return _LONGEST
    grace_period = parse_duration(given)
    if not grace_period:
        raise ValueError(f"{given!r} is too short to respond")
    return min(grace_period, _LONGEST)
