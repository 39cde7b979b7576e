"""Every request: may it be asked, and who answers.

What belongs here: authorization of requests, health, version and documents. What does not: resources (`handler`), and
sockets (`server`).
"""

from __future__ import annotations

import asyncio

from operatorkit.controlplane.embedded.auth.access import Access
from operatorkit.controlplane.embedded.auth.tokens import Tokens
from operatorkit.controlplane.embedded.discovery.discovery import Discovery
from operatorkit.controlplane.embedded.discovery.openapi import (
    PROTOBUF_V2,
    PROTOBUF_V2_MEDIA,
    ServedDocuments,
    etag,
    wants_protobuf,
)
from operatorkit.controlplane.embedded.endpoints.core import Core
from operatorkit.controlplane.embedded.endpoints.handler import ResourceHandler
from operatorkit.controlplane.embedded.endpoints.subresources import Subresources
from operatorkit.controlplane.embedded.endpoints.watching import WatchAnswer
from operatorkit.controlplane.embedded.errors.errors import (
    method_not_allowed,
    no_page,
    unknown_path,
)
from operatorkit.controlplane.embedded.registry.table import Served
from operatorkit.controlplane.embedded.request.messages import Answer, Request, StreamAnswer
from operatorkit.controlplane.embedded.request.options import check_timeout
from operatorkit.controlplane.embedded.serializer.json import encode
from operatorkit.controlplane.embedded.serializer.negotiation import Form, negotiate
from operatorkit.crd.kubernetes import KUBERNETES_VERSION

__all__ = ["Dispatcher"]

_MAJOR, _MINOR, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
_VERSION = {
    "major": _MAJOR,
    "minor": _MINOR,
    "emulationMajor": _MAJOR,
    "emulationMinor": _MINOR,
    "minCompatibilityMajor": _MAJOR,
    "minCompatibilityMinor": str(int(_MINOR) - 1),
    "gitVersion": KUBERNETES_VERSION,
    "gitCommit": "0" * 40,
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "any/any",
}
_HEALTH = frozenset(
    {f"/{name}{check}" for name in ("healthz", "livez", "readyz") for check in ("", "/ping")}
)


class Dispatcher:
    """Answers every request."""

    def __init__(self, core: Core, access: Access, tokens: Tokens) -> None:
        self._core = core
        self._access = access
        self._resources = ResourceHandler(core, access, Subresources(core, tokens))
        self._discovery = Discovery(core.registry)
        self._openapi = ServedDocuments(core.registry)

    def resources(self) -> list[Served]:
        """Return every served resource."""
        return self._core.registry.resources()

    async def answer(self, request: Request) -> Answer | StreamAnswer | WatchAnswer:
        """Answer. Raises `ApiError`."""
        if request.query.get("timeout") and request.verb != "watch":
            check_timeout(request.query)
        self._access.require(request.user, request.verb, request.info)
        if request.info.plural:
            return await self._resources.handle(request)
        path = request.info.path.rstrip("/") or "/"
        if path in _HEALTH:
            verbose = "verbose" in request.query and path != "/healthz/ping"
            text = f"[+]ping ok\n{path[1:]} check passed\n" if verbose else "ok"
            return Answer(text.encode(), media="text/plain; charset=utf-8")
        if request.method not in {"GET", "HEAD"}:
            raise method_not_allowed() if self._known(path) else no_page()
        if path == "/version":
            return Answer(encode(_VERSION))
        if path.startswith("/openapi/"):
            return await asyncio.to_thread(self._described, request, path)
        return self._document(request, path)

    def _described(self, request: Request, path: str) -> Answer:
        """Return a document of OpenAPI; made in a thread, because the first one takes its time."""
        if path == "/openapi/v2" and wants_protobuf(request.accept):
            return Answer(PROTOBUF_V2, media=PROTOBUF_V2_MEDIA, headers={"Vary": "Accept"})
        negotiate(request.accept, frozenset({"object"}))
        body = self._openapi.document(path)
        if body is None:
            raise no_page()
        headers = {"ETag": f'"{etag(body)}"', "Vary": "Accept"}
        if request.query.get("hash"):
            headers["Cache-Control"] = "public, immutable"
        return Answer(body, headers=headers)

    def _document(self, request: Request, path: str) -> Answer:
        if path == "/":
            return Answer(encode({"paths": self._paths()}))
        both = path in {"/api", "/apis"}
        form = negotiate(request.accept, frozenset({"object", "discovery"})) if both else Form()
        aggregated = form.view == "discovery" and form.version == "v2"
        found = self._discovery.document(path, aggregated=aggregated, address=request.host)
        if found is None:
            raise unknown_path() if self._of_known_group(path) else no_page()
        body, etag = found
        if not aggregated:
            return Answer(body, media=form.media, headers={"Vary": "Accept"} if both else {})
        media = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        return Answer(body, media=media, headers={"ETag": etag, "Vary": "Accept"})

    def _paths(self) -> list[str]:
        """Return where something is to be found that is no resource."""
        groups = self._core.registry.groups()
        roots = (
            (f"/apis/{group}" if group else "/api", versions) for group, versions in groups.items()
        )
        documents = [
            path
            for root, versions in roots
            for path in (root, *(f"{root}/{it}" for it in versions))
        ]
        return sorted({*documents, "/apis", *_HEALTH, "/openapi/v2", "/openapi/v3", "/version"})

    def _known(self, path: str) -> bool:
        return path == "/" or path in self._paths()

    def _of_known_group(self, path: str) -> bool:
        root, _, group = path[1:].partition("/")
        return root == "api" or (
            root == "apis" and group.partition("/")[0] in self._core.registry.groups()
        )
