"""Asking a webhook over HTTPS: where it is, whether it is who it should be, and what went wrong.

What belongs here: addresses, TLS, time limits, and the texts of failures, which are those of kube-apiserver's client.
What does not: what is asked (`review`), and what follows from the answer (`chain`).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import posixpath
import random
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from operatorkit.controlplane.embedded.admission.answers import ResponseError, failure_in, read_json
from operatorkit.controlplane.embedded.admission.hooks import Hook
from operatorkit.controlplane.embedded.admission.review import CallFailed
from operatorkit.controlplane.embedded.serializer.json import encode
from operatorkit.controlplane.embedded.storage.store import Storage, key_of

__all__ = ["Caller", "Reply"]

Object = dict[str, Any]

_SPREAD = random.Random()  # noqa: S311 - it spreads load
_CONTEXTS_MAX = 200
_ROUTED = frozenset({"ClusterIP", "LoadBalancer", "NodePort"})
_SERVICE_LABEL = "kubernetes.io/service-name"
_UNKNOWN_AUTHORITY = frozenset(
    {18, 19, 20, 21}
)  # X509_V_ERR_*: a chain that ends at no trusted authority
_EXPIRED = frozenset({9, 10})
_TEXTS = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    409: "the server reported a conflict",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a webhook is: what it is called, and how it is reached."""

    shown: str
    url: URL
    server_name: str | None


class Reply(NamedTuple):
    """What a webhook sent, and as what."""

    body: bytes
    media: str


class Caller:
    """Asks webhooks. Call `close` when it is no longer needed."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[str, ssl.SSLContext] = {}

    async def close(self) -> None:
        """Close every connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def ask(self, hook: Hook, review: Object) -> Reply:
        """Send a review and return the answer. Raises `CallFailed`, which says what kube-apiserver would."""
        config = hook.spec.get("clientConfig") or {}
        context = self._context(config.get("caBundle") or "")
        shown = _shown(config, hook.timeout_seconds)
        try:
            async with asyncio.timeout(hook.timeout_seconds):
                place = self._place(config, shown)
                return await self._post(place, encode(review), context, hook.timeout_seconds)
        except TimeoutError:
            raise _failed(shown, "context deadline exceeded") from None
        except aiohttp.ClientError as error:
            raise _failed(shown, _cause(error)) from None

    async def _post(
        self, place: _Place, body: bytes, context: ssl.SSLContext, seconds: int
    ) -> Reply:
        try:
            return await self._send(place, body, context, seconds)
        except (
            aiohttp.ServerDisconnectedError
        ):  # an idle connection that the other end has closed meanwhile
            return await self._send(place, body, context, seconds)

    async def _send(
        self, place: _Place, body: bytes, context: ssl.SSLContext, seconds: int
    ) -> Reply:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0), cookie_jar=None
            )
        headers = {"Content-Type": "application/json", "Accept": "application/json, */*"}
        headers["User-Agent"] = "kube-apiserver-admission"
        if place.server_name:
            headers["Host"] = f"{place.server_name}:{URL(place.shown).port}"
        async with self._session.post(
            place.url.update_query({"timeout": f"{seconds}s"}),
            data=body,
            headers=headers,
            ssl=context,
            server_hostname=place.server_name,
            allow_redirects=False,
        ) as answer:
            content = await answer.read()
        if not 200 <= answer.status <= 206:
            raise CallFailed(
                f"failed to call webhook: {_unexpected(answer.status, content, answer.content_type)}"
            )
        return Reply(content, answer.headers.get("Content-Type", ""))

    def _context(self, bundle: str) -> ssl.SSLContext:
        found = self._contexts.get(bundle)
        if found is None:
            if len(self._contexts) >= _CONTEXTS_MAX:
                self._contexts.clear()
            found = self._contexts[bundle] = _trusting(bundle)
        return found

    # ------------------------------------------------------------------------------------------------------- addresses

    def _place(self, config: Mapping[str, Any], shown: str) -> _Place:
        service = config.get("service")
        if service is None:
            return _Place(shown, _url(shown), None)
        name, namespace = service["name"], service["namespace"]
        host, port = self._endpoint(name, namespace, service.get("port") or 443, shown)
        url = URL.build(
            scheme="https", host=host, port=port, path=_clean(service.get("path") or "")
        )
        return _Place(shown, url, f"{name}.{namespace}.svc")

    def _endpoint(self, name: str, namespace: str, port: int, shown: str) -> tuple[str, int]:
        """Return a ready endpoint of a Service, as --enable-aggregator-routing does. Raises `CallFailed`."""
        record = self._storage.collection("services").records.get(key_of(namespace, name))
        if record is None:
            raise _failed(shown, f'service "{name}" not found')
        spec = record.decode().get("spec") or {}
        if spec.get("type") not in _ROUTED:
            raise _failed(shown, f'unsupported service type "{spec.get("type") or ""}"')
        wanted = next((it for it in spec.get("ports") or () if it.get("port") == port), None)
        if wanted is None:
            raise _failed(shown, f'no service port {port} found for service "{name}"')
        slices = [
            it.decode()
            for it in self._storage.collection("endpointslices.discovery.k8s.io").select(namespace)
        ]
        matching = [
            it for it in slices if (it["metadata"].get("labels") or {}).get(_SERVICE_LABEL) == name
        ]
        _SPREAD.shuffle(matching)
        primary = next(iter(spec.get("ipFamilies") or ()), None)
        for it in sorted(matching, key=lambda it: it.get("addressType") != primary):
            found = _ready_in(it, wanted.get("name") or "")
            if found is not None:
                return found
        raise _failed(shown, f'no endpoints available for service "{name}"')


def _ready_in(endpoints: Object, port_name: str) -> tuple[str, int] | None:
    """Return one of the ready endpoints of an EndpointSlice, and its port of that name."""
    ports = [
        it["port"]
        for it in endpoints.get("ports") or ()
        if (it.get("name") or "") == port_name and it.get("port")
    ]
    ready = [
        it
        for it in endpoints.get("endpoints") or ()
        if (it.get("conditions") or {}).get("ready", True)
    ]
    if not ports or not ready:
        return None
    return _SPREAD.choice(ready)["addresses"][0], ports[0]


def _clean(path: str) -> str:
    return posixpath.normpath(f"/{path.lstrip('/')}")


def _shown(config: Mapping[str, Any], seconds: int) -> str:
    """Return the URL as failures name it."""
    if service := config.get("service"):
        origin = (
            f"https://{service['name']}.{service['namespace']}.svc:{service.get('port') or 443}"
        )
        path = service.get("path") or ""
    else:
        url = urlsplit(config["url"])
        origin, path = f"https://{url.netloc}", url.path
    return f"{origin}{_clean(path)}?timeout={seconds}s"


def _url(shown: str) -> URL:
    try:
        return URL(shown).with_query(None)
    except ValueError:  # a configuration may have a port that there is not
        port = urlsplit(shown).netloc.rpartition(":")[2]
        raise _failed(shown, f"dial tcp: address {port}: invalid port") from None


def _failed(shown: str, cause: str) -> CallFailed:
    return CallFailed(f'failed to call webhook: Post "{shown}": {cause}')


def _trusting(bundle: str) -> ssl.SSLContext:
    """Return a context that trusts a bundle; without one, what the system trusts. Raises `CallFailed`."""
    if not bundle:
        return ssl.create_default_context()
    try:
        context = ssl.create_default_context(cadata=base64.b64decode(bundle).decode("ascii"))
    except (ssl.SSLError, binascii.Error, ValueError):
        text = "unable to load root certificates: unable to parse bytes as PEM block"
        raise CallFailed(f"could not get REST client: {text}") from None
    # Go takes a certificate that is trusted itself for the end of a chain, and is no stricter than that.
    context.verify_flags = (
        context.verify_flags | ssl.VERIFY_X509_PARTIAL_CHAIN
    ) & ~ssl.VERIFY_X509_STRICT
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _cause(error: aiohttp.ClientError) -> str:
    """Return what went wrong in the words of Go's HTTP client."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        found = error.certificate_error
        if not isinstance(found, ssl.SSLCertVerificationError):
            return f"tls: failed to verify certificate: x509: {found}"
        if found.verify_code in _UNKNOWN_AUTHORITY:
            why = "certificate signed by unknown authority"
        elif found.verify_code in _EXPIRED:
            why = "certificate has expired or is not yet valid"
        else:
            why = found.verify_message
        return f"tls: failed to verify certificate: x509: {why}"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {error.host}: no such host"
    if isinstance(error, aiohttp.ClientConnectorError):
        address = f"{error.host}:{error.port}"
        if isinstance(error.os_error, ConnectionRefusedError):
            return f"dial tcp {address}: connect: connection refused"
        return f"dial tcp {address}: {error.os_error.strerror or error.os_error}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    return str(error) or type(error).__name__


def _unexpected(status: int, body: bytes, media: str) -> str:
    """Return what an answer that is a failure says: its Status, if it is one, or what its code means."""
    if media == "application/json":
        with contextlib.suppress(ResponseError):
            message = failure_in(read_json(body))
            if message is not None:
                return message
    return _meaning(status, body, media)


def _meaning(status: int, body: bytes, media: str) -> str:
    message = body.decode(errors="replace").strip() if media.startswith("text/") else "unknown"
    if status in _TEXTS:
        return _TEXTS[status]
    if status in {403, 406, 415}:
        return message
    if status >= 500:
        quoted = message.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'an error on the server ("{quoted}") has prevented the request from succeeding'
    return f"the server responded with the status code {status} but did not return more information"
