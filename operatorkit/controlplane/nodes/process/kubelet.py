"""The endpoint of nodes that API servers request logs from, as of a kubelet.

What belongs here: HTTPS, who may read, and the stream of a log. What does not: log files (`logs`).

    GET /containerLogs/NAMESPACE/POD/CONTAINER?follow=&tailLines=&previous=&sinceTime=&timestamps=&limitBytes=

Only an API server reads: the client certificate `kube-apiserver-kubelet-client`, of the authority that
the API server publishes in ConfigMap kube-system/extension-apiserver-authentication.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from socket import socket
from typing import Protocol

from aiohttp import web

from operatorkit.clock import Clock, parse_time
from operatorkit.controlplane._credentials import Authority, write_private
from operatorkit.controlplane.nodes.process.logs import ContainerLog, LogOptions, select

__all__ = ["CLIENT_NAME", "KubeletServer", "LogError", "LogSource"]

CLIENT_NAME = "kube-apiserver-kubelet-client"


class LogError(Exception):
    """There is no such log; the message is a kubelet's, and `code` the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class LogSource(Protocol):
    """Finds the log of a container."""

    def log(self, namespace: str, pod: str, container: str, *, previous: bool) -> ContainerLog:
        """Return the log of a container's current or previous run. Raises LogError."""


class KubeletServer:
    """Serves logs on bound sockets. Without `client_ca`, no client is served."""

    def __init__(
        self,
        source: LogSource,
        listeners: Sequence[socket],
        *,
        client_ca: str | None,
        clock: Clock,
    ) -> None:
        self._source = source
        self._listeners = listeners
        self._client_ca = client_ca
        self._clock = clock
        self._runner: web.ServerRunner | None = None

    async def start(self) -> None:
        """Serve until `stop`."""
        context = self._tls()
        server = web.Server(self._handle)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        for listener in self._listeners:
            await web.SockSite(self._runner, listener, ssl_context=context).start()

    async def stop(self) -> None:
        """Close the connections and the sockets."""
        if self._runner is not None:
            for connection in self._runner.server.connections if self._runner.server else ():
                if connection.transport is not None:
                    connection.transport.abort()
            await self._runner.cleanup()

    def _tls(self) -> ssl.SSLContext:
        hosts = [listener.getsockname()[0] for listener in self._listeners]
        pair = Authority.create("operatorkit-kubelet").issue_server(hosts)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory(prefix="operatorkit-") as directory:
            path = write_private(Path(directory) / "kubelet.pem", pair.cert_pem + pair.key_pem)
            context.load_cert_chain(path)
        if self._client_ca:
            context.load_verify_locations(cadata=self._client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
        return context

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        certificate = request.transport.get_extra_info("peercert") if request.transport else None
        names = [pair for part in (certificate or {}).get("subject", ()) for pair in part]
        if ("commonName", CLIENT_NAME) not in names:
            return web.Response(status=403, text=f"only {CLIENT_NAME} may read logs")
        parts = request.path.split("/")[1:]
        if request.method != "GET" or len(parts) != 4 or parts[0] != "containerLogs":
            return web.Response(status=404, text="404 page not found")
        try:
            options = _options(request.query, self._clock.now)
            previous = request.query.get("previous") == "true"
            log = self._source.log(*parts[1:], previous=previous)
        except LogError as error:
            return web.Response(status=error.code, text=str(error))
        except ValueError as error:
            return web.Response(status=400, text=str(error))
        return await self._send(request, log, options)

    async def _send(
        self, request: web.BaseRequest, log: ContainerLog, options: LogOptions
    ) -> web.StreamResponse:
        limit = request.query.get("limitBytes")
        left = int(limit) if limit else None
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        follow = request.query.get("follow") == "true"
        offset = 0
        while True:
            closed = log.closed
            pieces, offset = select(log.path, options, offset=offset)
            data = b"".join(pieces)
            if left is not None:
                data, left = data[:left], left - len(data)
            if data:
                await response.write(data)
            if not follow or closed or (left is not None and left <= 0):
                break
            options = LogOptions(timestamps=options.timestamps)
            await log.grown()
        await response.write_eof()
        return response


def _options(query: Mapping[str, str], now: Callable[[], datetime]) -> LogOptions:
    """Return the selection that a request asks for. Raises ValueError."""
    since = parse_time(query["sinceTime"]) if query.get("sinceTime") else None
    if query.get("sinceSeconds"):
        since = now() - timedelta(seconds=int(query["sinceSeconds"]))
    tail = int(query["tailLines"]) if query.get("tailLines") else None
    return LogOptions(tail, since, query.get("timestamps") == "true")
