"""A metadata server in this process: its sockets, TLS, and the database behind.

What belongs here: starting and stopping what serves. What does not: the command line (`operators.attestation.cli`).
Needs the extra `attestation`.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from operatorkit.clock import Clock
from operatorkit.errors import InputError
from operatorkit.serving import listen_error
from operators.attestation.server.access import Access
from operators.attestation.server.database import Database, database_url
from operators.attestation.server.rest import application
from operators.attestation.server.service import Service

__all__ = ["Listen", "RunningServer", "serving", "tls_context"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where a server listens; port 0 takes a free one. With `grpc_port` None there is no gRPC."""

    host: str = "127.0.0.1"
    port: int = 8080
    grpc_port: int | None = None
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that listens."""

    service: Service
    port: int
    grpc_port: int | None
    scheme: str

    def url(self, host: str = "127.0.0.1") -> str:
        """Return the URL of the REST API."""
        return f"{self.scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"


@asynccontextmanager
async def serving(
    database: str, access: Access, listen: Listen, *, clock: Clock
) -> AsyncIterator[RunningServer]:
    """Serve until the block is left; then finish what was begun. Raises InputError for what cannot be served."""
    context = tls_context(listen)
    opened = await Database.open(database_url(database))
    try:
        service = Service(opened, access, clock=clock)
        runner = web.AppRunner(
            application(service), access_log=None, handle_signals=False, shutdown_timeout=5.0
        )
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, listen.host, listen.port, ssl_context=context).start()
            except OSError as error:
                raise listen_error(f"port {listen.port} of {listen.host}", error) from error
            port = int(runner.addresses[0][1])
            async with _grpc(service, listen) as grpc_port:
                yield RunningServer(
                    service, port, grpc_port, "http" if context is None else "https"
                )
        finally:
            await runner.cleanup()
    finally:
        await opened.close()


@asynccontextmanager
async def _grpc(service: Service, listen: Listen) -> AsyncIterator[int | None]:
    """Serve gRPC until the block is left, and give its port; None where it is not served."""
    if listen.grpc_port is None:
        yield None
        return
    import grpc

    from operators.attestation.server.grpc_api import grpc_server

    server = grpc_server(service)
    address = (
        f"[{listen.host}]:{listen.grpc_port}"
        if ":" in listen.host
        else f"{listen.host}:{listen.grpc_port}"
    )
    try:
        if listen.certificate is None or listen.key is None:
            port = server.add_insecure_port(address)
        else:
            chain, key = listen.certificate.read_bytes(), listen.key.read_bytes()
            roots = None if listen.client_ca is None else listen.client_ca.read_bytes()
            # with a CA, gRPC knows "required" or "not verified" only: callers by token use REST, or no client CA
            credentials = grpc.ssl_server_credentials(
                [(key, chain)], roots, require_client_auth=roots is not None
            )
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise InputError(
            f"gRPC cannot listen on {address}: choose another with --grpc-port"
        ) from error
    await server.start()
    try:
        yield int(port)
    finally:
        await server.stop(grace=5.0)


def tls_context(listen: Listen) -> ssl.SSLContext | None:
    """Return the TLS of a server, None for plain HTTP. Raises InputError."""
    if listen.certificate is None or listen.key is None:
        if listen.certificate or listen.key or listen.client_ca:
            raise InputError(
                "TLS needs both --tls-certificate and --tls-key; --client-ca needs both"
            )
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(listen.certificate, listen.key)
        if listen.client_ca is not None:
            context.load_verify_locations(listen.client_ca)
            context.verify_mode = (
                ssl.CERT_OPTIONAL
            )  # a token will do; a certificate that is sent must be valid
    except (ssl.SSLError, OSError) as error:
        raise InputError(f"the TLS files cannot be used: {error}") from error
    return context
