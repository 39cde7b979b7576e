"""Requests and answers, one step above HTTP: what is asked, may it be asked, and who answers.

What belongs here: the order of authentication, impersonation, authorization and the handling of resources. What does
not: sockets (`server`), and the documents and semantics themselves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from operatorkit.controlplane.embedded.address import Address, read_address, verb_of
from operatorkit.controlplane.embedded.authn import User
from operatorkit.controlplane.embedded.columns import columns_of
from operatorkit.controlplane.embedded.core import Core
from operatorkit.controlplane.embedded.encoding import encode
from operatorkit.controlplane.embedded.forms import Presenter
from operatorkit.controlplane.embedded.negotiation import Form, media_type, negotiate, read_body
from operatorkit.controlplane.embedded.options import DeleteOptions, ListOptions, WriteOptions
from operatorkit.controlplane.embedded.patching import APPLY, patch_change
from operatorkit.controlplane.embedded.reading import Selection, read_list, read_one
from operatorkit.controlplane.embedded.registry import Served
from operatorkit.controlplane.embedded.status import bad_request, method_not_allowed, unknown_path
from operatorkit.controlplane.embedded.watching import Watch
from operatorkit.controlplane.embedded.writing import Ownership, Target, Written

__all__ = ["Answer", "Dispatcher", "Request", "WatchAnswer"]

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Request:
    """One request, headers and body read."""

    method: str
    raw_path: str
    query: Mapping[str, str]
    dry_run: tuple[str, ...]
    accept: str
    content_type: str
    user_agent: str
    body: bytes
    user: User
    host: str
    address: Address
    verb: str

    @classmethod
    def of(cls, method: str, raw_path: str, query: Mapping[str, str], **more: Any) -> Request:
        """Build a request; address and verb are read from the rest."""
        address = read_address(raw_path)
        return cls(method, raw_path, query, address=address, verb=verb_of(method, address, query), **more)


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer."""

    body: bytes
    status: int = 200
    media: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WatchAnswer:
    """An answer that goes on: events of `watch`, presented by `presenter`."""

    watch: Watch
    presenter: Presenter
    bookmarks: bool
    timeout_seconds: int | None


Handler = Callable[[Request, Served], Awaitable[Answer | WatchAnswer]]


class ResourceHandler:
    """Answers requests about resources."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._verbs: Mapping[str, Handler] = {
            "get": self._get,
            "list": self._list,
            "watch": self._watch,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }

    async def handle(self, request: Request) -> Answer | WatchAnswer:
        """Answer. Raises `ApiError`."""
        address = request.address
        served = self._core.registry.find(address.group, address.version, address.plural)
        if served is None:
            raise unknown_path()
        verbs = served.verbs
        if address.subresource:
            subresource = served.subresources.get(address.subresource)
            if subresource is None:
                raise unknown_path()
            verbs = subresource.verbs
        if request.verb not in verbs:
            raise method_not_allowed()
        if address.namespace and not served.namespaced and served.plural != "namespaces":
            raise unknown_path()
        return await self._verbs[request.verb](request, served)

    def _presenter(self, request: Request, served: Served) -> tuple[Presenter, Form]:
        form = negotiate(request.accept)
        include = request.query.get("includeObject", "")
        return Presenter(served, form, columns_of(served), self._core.clock.now(), include), form

    @staticmethod
    def _namespace(request: Request, served: Served) -> str:
        return request.address.namespace if served.namespaced else ""

    async def _get(self, request: Request, served: Served) -> Answer:
        presenter, form = self._presenter(request, served)
        record = read_one(self._core.storage, served, self._namespace(request, served), request.address.name)
        return Answer(presenter.stored(record), media=form.media)

    async def _list(self, request: Request, served: Served) -> Answer:
        presenter, form = self._presenter(request, served)
        options = ListOptions.read(request.query, watch=False)
        selection = Selection.of(served, self._namespace(request, served), options)
        return Answer(presenter.page(read_list(self._core.storage, selection, options)), media=form.media)

    async def _watch(self, request: Request, served: Served) -> WatchAnswer:
        presenter, _ = self._presenter(request, served)
        options = ListOptions.read(request.query, watch=True)
        selection = Selection.of(served, self._namespace(request, served), options)
        if request.address.name:
            selection = selection.named(request.address.name)
        watch = Watch(self._core.storage, selection, options)
        return WatchAnswer(watch, presenter, options.bookmarks, options.timeout_seconds)

    def _write_options(self, request: Request, kind: str, *, apply: bool = False) -> WriteOptions:
        return WriteOptions.read(request.query, request.dry_run, user_agent=request.user_agent, kind=kind, apply=apply)

    def _decode(self, request: Request, served: Served, options: WriteOptions) -> Object:
        obj = read_body(request.body, request.content_type)
        if not isinstance(obj, dict):
            raise bad_request("the body must be an object")
        obj.setdefault("kind", served.kind)
        obj.setdefault("apiVersion", served.api_version)
        if obj["apiVersion"] != served.api_version:
            raise bad_request(
                f"the API version in the data ({obj['apiVersion']}) does not match the expected API version "
                f"({served.api_version})"
            )
        if obj["kind"] != served.kind:
            raise bad_request(f"the kind in the data ({obj['kind']}) does not match the expected kind ({served.kind})")
        return served.strategy.decode(obj, validation=options.field_validation, warnings=options.warnings)

    @staticmethod
    def _written(written: Written, options: WriteOptions, presenter: Presenter, form: Form) -> Answer:
        body = presenter.stored(written.record) if written.record is not None else presenter.one(written.obj)
        return Answer(body, 201 if written.created else 200, form.media, warnings=options.warnings)

    async def _create(self, request: Request, served: Served) -> Answer:
        presenter, form = self._presenter(request, served)
        options = self._write_options(request, "CreateOptions")
        obj = self._decode(request, served, options)
        target = Target(served, self._namespace(request, served), "")
        written = await self._core.writer.create(target, obj, options, self._own(target, options))
        return self._written(written, options, presenter, form)

    def _own(self, target: Target, options: WriteOptions) -> Ownership:
        return partial(self._core.owners.track, target.served, target.subresource, options)

    async def _update(self, request: Request, served: Served) -> Answer:
        presenter, form = self._presenter(request, served)
        options = self._write_options(request, "UpdateOptions")
        obj = self._decode(request, served, options)
        target = self._target(request, served)
        written = await self._core.writer.change(target, lambda _: obj, options, self._own(target, options))
        return self._written(written, options, presenter, form)

    async def _patch(self, request: Request, served: Served) -> Answer:
        presenter, form = self._presenter(request, served)
        media = media_type(request.content_type)
        options = self._write_options(request, "PatchOptions", apply=media == APPLY)
        body = read_body(request.body, request.content_type)
        target = self._target(request, served)
        if media == APPLY:
            written = await self._apply(target, body, options)
        else:
            change = patch_change(served, media, body)
            decode = partial(self._decoded_patch, served, change, options)
            written = await self._core.writer.change(target, decode, options, self._own(target, options))
        return self._written(written, options, presenter, form)

    @staticmethod
    def _decoded_patch(
        served: Served, change: Callable[[Object], Object], options: WriteOptions, live: Object
    ) -> Object:
        options.warnings.clear()
        return served.strategy.decode(change(live), validation=options.field_validation, warnings=options.warnings)

    async def _apply(self, target: Target, body: Any, options: WriteOptions) -> Written:
        if not isinstance(body, dict):
            raise bad_request("the body of an apply must be an object")
        served, subresource = target.served, target.subresource
        applied = served.strategy.decode(body, validation=options.field_validation, warnings=options.warnings)
        apply = partial(self._core.owners.apply, served, subresource, options)
        create = None if subresource else lambda: apply(None, applied)
        return await self._core.writer.change(target, lambda live: apply(live, applied), options, or_create=create)

    def _target(self, request: Request, served: Served) -> Target:
        address = request.address
        return Target(served, self._namespace(request, served), address.name, address.subresource)

    def _delete_options(self, request: Request) -> DeleteOptions:
        body = read_body(request.body, request.content_type) if request.body.strip() else None
        return DeleteOptions.read(request.query, request.dry_run, body)

    async def _delete(self, request: Request, served: Served) -> Answer:
        options = self._delete_options(request)
        namespace = self._namespace(request, served)
        return Answer(encode(self._core.deleter.delete(served, namespace, request.address.name, options)))

    async def _delete_collection(self, request: Request, served: Served) -> Answer:
        options = self._delete_options(request)
        listed = ListOptions.read(request.query, watch=False)
        namespace = self._namespace(request, served)
        page = read_list(self._core.storage, Selection.of(served, namespace, listed), listed)
        for record in page.records:
            self._core.deleter.delete(served, record.namespace, record.name, options)
        return Answer(Presenter(served, Form(), columns_of(served), self._core.clock.now()).page(page))


class Dispatcher:
    """Answers every request."""

    def __init__(self, core: Core) -> None:
        from operatorkit.controlplane.embedded.discovery import Discovery

        self._core = core
        self._resources = ResourceHandler(core)
        self._discovery = Discovery(core.registry)

    def resources(self) -> list[Served]:
        """Return every served resource."""
        return self._core.registry.resources()

    async def answer(self, request: Request) -> Answer | WatchAnswer:
        """Answer. Raises `ApiError`."""
        if request.address.plural:
            return await self._resources.handle(request)
        if request.method not in {"GET", "HEAD"}:
            raise method_not_allowed()
        path = request.address.path.rstrip("/") or "/"
        if path in {"/healthz", "/livez", "/readyz"} or path.startswith(("/healthz/", "/livez/", "/readyz/")):
            return Answer(b"ok", media="text/plain; charset=utf-8")
        if path == "/version":
            return Answer(encode(_VERSION))
        views = frozenset({"object", "discovery"})
        form = negotiate(request.accept, views) if path in {"/api", "/apis"} else Form()
        aggregated = form.view == "discovery" and form.version == "v2"
        found = self._discovery.document(path, aggregated=aggregated, address=request.host)
        if found is None:
            raise unknown_path()
        body, etag = found
        media = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList" if aggregated else form.media
        return Answer(body, media=media, headers={"ETag": etag, "Vary": "Accept"} if aggregated else {})


_VERSION = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.3",
    "gitCommit": "0" * 40,
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "any/any",
}
