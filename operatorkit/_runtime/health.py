"""Probes of a running operator: whether it is alive, and whether it is ready.

What belongs here: the port, and answering in time. What does not: what the answers are made of (`checks`), and metrics.

    GET /livez, /healthz   200, or 503: only a restart helps
    GET /readyz            200, or 503: it is starting, stopping, or does not follow the cluster

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
import logging
import os
import socket
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

from aiohttp import web

from operatorkit.errors import InputError
from operatorkit.serving import Limits, Listener, bind

__all__ = ["Report", "serve_health"]

Report = Mapping[str, str | None]
"""What each check found: why it failed, or None."""

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
    answer_seconds: float = _ANSWER_SECONDS,
    limits: Limits = _LIMITS,
) -> AsyncIterator[int]:
    """Answer probes on `port` of every address while the block runs; 0 takes a free port. Yields the port.

    `live` and `ready` are called in the loop of the caller. When that does not happen within `answer_seconds`, the
    check event-loop has failed; the log has what the loop was at, once for each time. Raises InputError when the port
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
    server = _Server(application, listener, limits)
    thread = threading.Thread(target=server.run, name="probes", daemon=True)
    thread.start()
    try:
        _log.info("probes are answered on port %d", bound)
        yield bound
    finally:
        server.stop()
        await asyncio.to_thread(thread.join)


async def _answered(loop: _Loop, name: str, checks: Callable[[], Report], request: web.Request) -> web.Response:
    report = await loop.report(checks)
    failed = any(report.values())
    if not failed and "verbose" not in request.query:
        return web.Response(text="ok\n")
    lines = [f"[-]{check} failed: {why}" if why else f"[+]{check} ok" for check, why in report.items()]
    lines.append(f"{name} check {'failed' if failed else 'passed'}")
    return web.Response(status=503 if failed else 200, text="\n".join(lines) + "\n")


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
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - documented, for just this
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "unknown\n"
        _log.error(
            "the event loop has not answered for %g s: something blocks it, such as time.sleep or a request that "
            "is not awaited; await asyncio.to_thread(...) for that. It is at:\n%s",
            self._answer_seconds,
            stack,
        )


class _Server:
    """The thread's own loop, and the port in it."""

    def __init__(self, application: web.Application, listener: socket.socket, limits: Limits) -> None:
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
