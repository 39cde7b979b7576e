"""`pods/log`: what a container wrote, requested from the kubelet of its node.

What belongs here: which container and which node are meant, the request, and its errors. What does not: keeping
logs, which is a kubelet's work (`operatorkit.controlplane.nodes.process` has one).
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from operatorkit.controlplane._credentials import Authority, write_private
from operatorkit.controlplane.embedded.endpoints.reading import read_one
from operatorkit.controlplane.embedded.errors.errors import ApiError, bad_request, internal_error
from operatorkit.controlplane.embedded.registry.table import Registry
from operatorkit.controlplane.embedded.request.messages import StreamAnswer
from operatorkit.controlplane.embedded.storage.store import Storage
from operatorkit.names import GroupVersionKind

__all__ = ["CLIENT_NAME", "ContainerLogs"]

CLIENT_NAME = "kube-apiserver-kubelet-client"
_OPTIONS = (
    "follow",
    "limitBytes",
    "previous",
    "sinceSeconds",
    "sinceTime",
    "tailLines",
    "timestamps",
)
_CONNECT_SECONDS = 10.0
_ERROR_BYTES = 1 << 16


class ContainerLogs:
    """Reads logs from kubelets. `authority` issues the certificate by which they know the API server."""

    def __init__(self, storage: Storage, registry: Registry) -> None:
        self._storage = storage
        self._registry = registry
        self.authority: Authority | None = None
        self._session: aiohttp.ClientSession | None = None

    async def read(self, namespace: str, name: str, query: Mapping[str, str]) -> StreamAnswer:
        """Return the log of a container as it comes. Raises `ApiError`."""
        pod = self._object("Pod", namespace, name)
        container = _container(pod, query.get("container", ""))
        node = pod["spec"].get("nodeName")
        if not node:
            return StreamAnswer(
                _nothing()
            )  # as kube-apiserver has it for a pod that no node has yet
        url = self._endpoint(node) / "containerLogs" / namespace / name / container
        wanted = {key: query[key] for key in _OPTIONS if query.get(key)}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
        try:
            response = await self._connected().get(url.with_query(wanted), timeout=timeout)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise internal_error(f'Get "{url}": {error}') from error
        if response.status != 200:
            async with response:
                text = (await response.content.read(_ERROR_BYTES)).decode(errors="replace")
            raise _error(response.status, name, text)
        return StreamAnswer(_pieces(response))

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _object(self, kind: str, namespace: str, name: str) -> dict[str, Any]:
        served = self._registry.by_kind(GroupVersionKind("", "v1", kind))
        assert served is not None
        obj: dict[str, Any] = served.read(read_one(self._storage, served, namespace, name))
        return obj

    def _endpoint(self, node_name: str) -> URL:
        status = self._object("Node", "", node_name).get("status") or {}
        addresses = {it["type"]: it["address"] for it in status.get("addresses") or ()}
        for type_ in ("Hostname", "InternalDNS", "InternalIP"):
            if host := addresses.get(type_):
                break
        else:
            raise internal_error(
                f"no preferred addresses found; known addresses: {list(addresses)}"
            )
        port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get(
            "Port", 10250
        )
        return URL.build(scheme="https", host=host, port=port)

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            if self.authority is None:
                raise bad_request(
                    "logs need a control plane with TLS: kubelets know the API server by its certificate"
                )
            pair = self.authority.issue_client(CLIENT_NAME, ())
            context = ssl.create_default_context()
            context.check_hostname = (
                False  # as kube-apiserver without --kubelet-certificate-authority
            )
            context.verify_mode = ssl.CERT_NONE
            with tempfile.TemporaryDirectory(prefix="operatorkit-") as directory:
                path = write_private(Path(directory) / "client.pem", pair.cert_pem + pair.key_pem)
                context.load_cert_chain(path)
            connector = aiohttp.TCPConnector(ssl=context, force_close=True)
            self._session = aiohttp.ClientSession(connector=connector)
        return self._session


def _container(pod: Mapping[str, Any], wanted: str) -> str:
    """Return the container whose log is meant. Raises `ApiError` (400)."""
    name, spec = pod["metadata"]["name"], pod["spec"]
    main = [it["name"] for it in spec.get("containers") or ()]
    init = [it["name"] for it in spec.get("initContainers") or ()]
    if wanted:
        if wanted not in (*main, *init):
            raise bad_request(f"container {wanted} is not valid for pod {name}")
        return wanted
    if len(main) == 1:
        return str(main[0])
    choices = f"choose one of: [{' '.join(main)}]"
    if init:
        choices += f" or one of the init containers: [{' '.join(init)}]"
    raise bad_request(f"a container name must be specified for pod {name}, {choices}")


def _error(code: int, name: str, text: str) -> ApiError:
    """Return the error for a kubelet's, as kube-apiserver's GenericHttpResponseChecker has it."""
    if code == 400:
        return bad_request(text)
    if code == 404:
        message = f"the server could not find the requested resource ( pods/log {name})"
        causes = [{"reason": "UnexpectedServerResponse", "message": text}]
        details = {"name": name, "kind": "pods/log", "causes": causes}
        return ApiError(404, "NotFound", message, details=details)
    return internal_error(text)


async def _nothing() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for piece in nothing:
        yield piece


async def _pieces(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for piece in response.content.iter_any():
            yield piece
    finally:
        response.close()
