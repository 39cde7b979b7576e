"""Probes of a running operator: whether it is alive, and whether it is ready.

What belongs here: the port, and responding in time. What does not: what responses consist of (`checks`, `prometheus`),
and who may read metrics (`metrics_access`).

    GET /livez, /healthz   200, or 503: only a restart helps
    GET /readyz            200, or 503: it is starting, stopping, or does not follow the cluster
    GET /debug/why         what triggered an object, how its last run ended, and when the next is; on loopback only
    GET /metrics           Prometheus metrics; from other addresses than loopback only with a token that may read them

The answers follow kube-apiserver's: `ok`, or, when a check fails or with `?verbose`, one line for each check:

    [+]event-loop ok
    [-]watches failed: secrets: no contact for 61 s: connection refused
    readyz check failed

The port is served by a thread of its own. A probe lets the loop of the operator run the checks; a loop that is blocked
does not, and the thread says so.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import ipaddress
import logging
import os
import socket
import sys
import threading
import traceback
import types
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from aiohttp import web

from operatorkit.errors import ClusterError, InputError
from operatorkit.serving import Limits, Listener, bind

__all__ = ["Report", "Scrape", "serve_health"]

Report = Mapping[str, str | None]
"""What each check found: why it failed, or None."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """What GET /metrics calls in the loop of the operator.

    `render` returns a body and its content type; `access` returns 200, 401 or 403 for a bearer token.
    """

    render: Callable[[], tuple[bytes, str]]
    access: Callable[[str], Awaitable[int]]


_log = logging.getLogger("operatorkit.runtime")

_ANSWER_SECONDS = 3.0  # less than the 5 that a chart's probes wait
_LIMITS = Limits(connections=32, first_request_seconds=10.0, receive_seconds=5.0, idle_seconds=30.0)
_MAX_HEADERS = 32
_MAX_LINE_BYTES = 4096


@asynccontextmanager
async def serve_health(
    port: int,
    *,
    live: Callable[[], Report],
    ready: Callable[[], Report],
    metrics: Scrape | None = None,
    why: Callable[[str], tuple[bool, str]] | None = None,
    answer_seconds: float = _ANSWER_SECONDS,
    limits: Limits = _LIMITS,
) -> AsyncIterator[int]:
    """Answer probes on `port` of every address while the block runs; 0 takes a free port. Yields the port.

    `live` and `ready` are called in the loop of the caller. When that does not happen within `answer_seconds`, the
    check event-loop has failed; the log has what the loop was at, once for each time. `metrics` is what /metrics
    returns; without it there is none. `why` returns, for the `object` of /debug/why, whether there is such a thing, and
    the page. Raises InputError when the port
    is in use.
    """
    try:
        listener = bind(None, port)
    except OSError as error:
        raise InputError(
            f"port {port} cannot be used for probes: {os.strerror(error.errno or 0)}: stop what listens there, or "
            "choose another with --health-port"
        ) from error
    bound: int = listener.getsockname()[1]
    loop = _Loop(answer_seconds)
    application = web.Application(client_max_size=1024)
    for path, checks in (("/livez", live), ("/healthz", live), ("/readyz", ready)):
        application.router.add_get(path, partial(_answered, loop, path[1:], checks))
    if metrics is not None:
        application.router.add_get("/metrics", partial(_scraped, loop, metrics))
    if why is not None:
        application.router.add_get("/debug/why", partial(_explained, loop, why))
    server = _Server(application, listener, limits)
    thread = threading.Thread(target=server.run, name="probes", daemon=True)
    thread.start()
    try:
        _log.info("probes are answered on port %d", bound)
        yield bound
    finally:
        server.stop()
        await asyncio.to_thread(thread.join)


async def _answered(
    loop: _Loop, name: str, checks: Callable[[], Report], request: web.Request
) -> web.Response:
    report = await loop.report(checks)
    failed = any(report.values())
    if not failed and "verbose" not in request.query:
        return web.Response(text="ok\n")
    lines = [
        f"[-]{check} failed: {why}" if why else f"[+]{check} ok" for check, why in report.items()
    ]
    lines.append(f"{name} check {'failed' if failed else 'passed'}")
    return web.Response(status=503 if failed else 200, text="\n".join(lines) + "\n")


async def _explained(
    loop: _Loop, why: Callable[[str], tuple[bool, str]], request: web.Request
) -> web.Response:
    """Return the page about an object, to loopback addresses: it names objects and errors of all tenants."""
    if not _is_loopback(request.remote):
        return web.Response(
            status=403, text="/debug/why is for loopback addresses: use kubectl port-forward\n"
        )
    name = request.query.get("object", "")
    if not name:
        return web.Response(status=400, text="say which: /debug/why?object=KIND/NAMESPACE/NAME\n")

    async def explain() -> tuple[bool, str]:
        return why(name)

    try:
        is_known, page = await loop.call(explain)
    except (TimeoutError, RuntimeError):
        return web.Response(status=503, text="the event loop of the operator does not respond\n")
    return web.Response(status=200 if is_known else 404, text=page)


async def _scraped(loop: _Loop, metrics: Scrape, request: web.Request) -> web.Response:
    """Return the metrics, or why not: 401 and 403 by the token, 503 while the loop or the API server do not respond."""
    try:
        if not _is_loopback(request.remote):
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not token:
                return web.Response(status=401, text="a bearer token is required\n")
            status = await loop.call(lambda: metrics.access(token.strip()))
            if status != 200:
                reason = (
                    "the token is not valid" if status == 401 else "the user may not get /metrics"
                )
                return web.Response(status=status, text=f"{reason}\n")

        async def render() -> tuple[bytes, str]:
            return metrics.render()

        body, content_type = await loop.call(render)
    except (TimeoutError, RuntimeError):
        return web.Response(status=503, text="the event loop of the operator does not respond\n")
    except ClusterError as error:
        return web.Response(status=503, text=f"the token cannot be reviewed: {error}\n")
    return web.Response(body=body, headers={"Content-Type": content_type})


def _is_loopback(remote: str | None) -> bool:
    try:
        address = ipaddress.ip_address(remote or "")
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


class _Loop:
    """The loop of the operator, as the thread of the probes sees it."""

    def __init__(self, answer_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._answer_seconds = answer_seconds
        self._asked: concurrent.futures.Future[None] | None = None
        self._asked_at = 0.0
        self._logged = False

    async def report(self, checks: Callable[[], Report]) -> Report:
        """Return what `checks` found in the loop, or that the loop does not answer."""
        answer: concurrent.futures.Future[Report] = concurrent.futures.Future()

        def run() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result({"event-loop": None, **checks()})
            except Exception as error:  # noqa: BLE001 - a check that cannot be made has not succeeded
                _log.exception("a check of the operator's health cannot be made")
                answer.set_result({"checks": f"they raise {type(error).__name__}: see the log"})

        now = asyncio.get_running_loop().time()
        try:
            self._loop.call_soon_threadsafe(run)
            since = self._since(now)
            found = await asyncio.wait_for(asyncio.wrap_future(answer), self._answer_seconds)
        except RuntimeError:
            return {"event-loop": "it has ended"}
        except TimeoutError:
            self._log_once()
            blocked = asyncio.get_running_loop().time() - since
            return {"event-loop": f"it is blocked, for {blocked:.0f} s at least: see the log"}
        self._logged = False
        return found

    async def call(self, work: Callable[[], Awaitable[T]]) -> T:
        """Return what `work` returns in the loop. Raises its error, TimeoutError, and RuntimeError without a loop."""

        async def run() -> T:
            return await work()

        running = run()
        try:
            future = asyncio.run_coroutine_threadsafe(running, self._loop)
        except RuntimeError:
            running.close()
            raise
        return await asyncio.wait_for(asyncio.wrap_future(future), self._answer_seconds)

    def _since(self, now: float) -> float:
        """Return when the loop was first asked for something that it has not done yet."""
        if self._asked is None or self._asked.done():
            asked: concurrent.futures.Future[None] = concurrent.futures.Future()
            self._asked, self._asked_at = asked, now
            self._loop.call_soon_threadsafe(asked.set_result, None)
        return self._asked_at

    def _log_once(self) -> None:
        if self._logged:
            return
        self._logged = True
        frame = _frame_of(self._thread)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "unknown\n"
        _log.error(
            "the event loop has not answered for %g s: blocking code runs in it, such as "
            "time.sleep or a synchronous request; call it with await asyncio.to_thread(...). It "
            "is at:\n%s",
            self._answer_seconds,
            stack,
        )


def _frame_of(thread: int) -> types.FrameType | None:
    """Return what a thread executes."""
    # sys._current_frames() allocates while it holds a lock of the interpreter. A garbage collection within it that
    # frees a threading.local needs the same lock: the whole process would stop for ever.
    # https://github.com/python/cpython/issues/106883
    collects = gc.isenabled()
    gc.disable()
    try:
        return sys._current_frames().get(thread)  # noqa: SLF001 - documented, for just this
    finally:
        if collects:
            gc.enable()


class _Server:
    """The thread's own loop, and the port in it."""

    def __init__(
        self, application: web.Application, listener: socket.socket, limits: Limits
    ) -> None:
        self._application = application
        self._socket = listener
        self._limits = limits
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._lock = threading.Lock()

    def run(self) -> None:
        asyncio.run(self._serve())

    def stop(self) -> None:
        """End the thread; call it from any other."""
        with self._lock:
            self._stopping.set()
            if self._loop is not None and self._stop is not None:
                self._loop.call_soon_threadsafe(self._stop.set)

    async def _serve(self) -> None:
        port = Listener(limits=self._limits)
        self._application.middlewares.append(port.middleware)
        runner = web.AppRunner(
            self._application,
            access_log=None,
            handle_signals=False,
            shutdown_timeout=1,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_LINE_BYTES,
            max_headers=_MAX_HEADERS,
        )
        await runner.setup()
        assert runner.server is not None, "it was set up"
        stop = asyncio.Event()
        with self._lock:
            self._loop, self._stop = asyncio.get_running_loop(), stop
            if self._stopping.is_set():
                stop.set()
        port.start(runner.server, self._socket)
        try:
            await stop.wait()
        finally:
            await port.stop()
            await runner.cleanup()
            await port.close_connections()
            with self._lock:
                self._loop = None
