"""Requests about resources: each verb, in order, from options to answer.

What belongs here: what a verb reads from a request, and which part of the server carries it out. What does not: those
parts (`reading`, `watching`, `writing`, `deleting`, `subresources`, `access`), and all other URLs (`dispatch`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from operatorkit.controlplane.embedded.admission.chain import Admission
from operatorkit.controlplane.embedded.admission.requests import admission_of
from operatorkit.controlplane.embedded.auth.access import REVIEWS, Access
from operatorkit.controlplane.embedded.endpoints.core import Core
from operatorkit.controlplane.embedded.endpoints.patching import (
    APPLY,
    STRATEGIC,
    apply_conversion_error,
    patch_change,
    patched_decode_error,
    read_patch,
    require_kind,
    require_patch,
    strategic_conversion_error,
)
from operatorkit.controlplane.embedded.endpoints.reading import Selection, read_list, read_one
from operatorkit.controlplane.embedded.endpoints.representation import Representation
from operatorkit.controlplane.embedded.endpoints.subresources import Subresources
from operatorkit.controlplane.embedded.endpoints.watching import Watch, WatchAnswer
from operatorkit.controlplane.embedded.endpoints.writing import (
    Ownership,
    Target,
    WriteContext,
    Written,
)
from operatorkit.controlplane.embedded.errors.errors import (
    ApiError,
    bad_request,
    conflict,
    forbidden,
    method_not_allowed,
    no_page,
    unknown_path,
)
from operatorkit.controlplane.embedded.registry.table import Served
from operatorkit.controlplane.embedded.request.messages import Answer, Request, StreamAnswer
from operatorkit.controlplane.embedded.request.options import (
    DeleteOptions,
    ListOptions,
    WriteOptions,
)
from operatorkit.controlplane.embedded.scheme import codec
from operatorkit.controlplane.embedded.scheme.decode_error import DecodeError
from operatorkit.controlplane.embedded.serializer.decoding import (
    read_delete_options,
    read_object,
    require_built_in,
)
from operatorkit.controlplane.embedded.serializer.json import encode
from operatorkit.controlplane.embedded.serializer.negotiation import Form, media_type, negotiate
from operatorkit.controlplane.embedded.storage.store import key_of
from operatorkit.names import GroupVersionKind

__all__ = ["ResourceHandler"]

Object = dict[str, Any]
Handler = Callable[[Request, Served], Awaitable[Answer | StreamAnswer | WatchAnswer]]

_OF_COLLECTIONS = frozenset({"create", "deletecollection", "list"})
_OF_NAMESPACES = frozenset({"create", "deletecollection"})
_OF_OBJECTS = frozenset({"delete", "get", "patch", "update"})
_NEEDS_CONTAINERS = frozenset({"attach", "exec", "portforward", "proxy"})


class ResourceHandler:
    """Answers requests about resources."""

    def __init__(self, core: Core, access: Access, subresources: Subresources) -> None:
        self._core = core
        self._access = access
        self._subresources = subresources
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

    async def handle(self, request: Request) -> Answer | StreamAnswer | WatchAnswer:
        """Answer. Raises `ApiError`."""
        info = request.info
        served = self._core.registry.find(info.group, info.version, info.plural)
        if served is None and info.version not in self._core.registry.groups().get(info.group, ()):
            raise no_page()
        if served is None or (
            info.namespace and not served.namespaced and served.plural != "namespaces"
        ):
            raise unknown_path()
        verbs = served.verbs
        if info.subresource:
            subresource = served.subresources.get(info.subresource)
            if subresource is None:
                raise unknown_path()
            verbs = subresource.verbs
            if info.subresource in _NEEDS_CONTAINERS:
                read_one(self._core.storage, served, info.namespace, info.name)
                raise bad_request(
                    f"the embedded control plane runs no containers: {info.plural}/{info.subresource} has "
                    "nothing to connect to"
                )
        if served.namespaced and not info.namespace and info.name:
            raise unknown_path()
        if request.verb in _OF_NAMESPACES and served.namespaced and not info.namespace:
            raise method_not_allowed()
        misplaced = (
            request.verb in (_OF_COLLECTIONS if info.name else _OF_OBJECTS) and not info.subresource
        )
        if request.verb not in verbs or misplaced:
            raise method_not_allowed()
        if (served.plural, info.subresource) == ("pods", "log"):
            return await self._core.logs.read(info.namespace, info.name, request.query)
        return await self._verbs[request.verb](request, served)

    def _representation(self, request: Request, served: Served) -> tuple[Representation, Form]:
        form = negotiate(request.accept)
        include = request.query.get("includeObject", "")
        return Representation(served, form, self._core.clock, include), form

    @staticmethod
    def _target(request: Request, served: Served) -> Target:
        info = request.info
        return Target(
            served, info.namespace if served.namespaced else "", info.name, info.subresource
        )

    def _own(self, target: Target, context: WriteContext) -> Ownership:
        return partial(
            self._core.field_managers.track, target.served, target.subresource, context.options
        )

    # ------------------------------------------------------------------------------------------------------------ reads

    async def _get(self, request: Request, served: Served) -> Answer:
        representation, form = self._representation(request, served)
        target = self._target(request, served)
        oldest = request.query.get("resourceVersion", "")
        record = read_one(self._core.storage, served, target.namespace, target.name, oldest)
        if target.subresource == "scale":
            return Answer(
                encode(self._subresources.shown_scale(served, served.read(record))),
                media=form.media,
            )
        return Answer(representation.stored(record), media=form.media)

    async def _list(self, request: Request, served: Served) -> Answer:
        representation, form = self._representation(request, served)
        options = ListOptions.read(request.query, watch=False)
        selection = Selection.of(served, self._target(request, served).namespace, options)
        return Answer(
            representation.page(read_list(self._core.storage, selection, options)), media=form.media
        )

    async def _watch(self, request: Request, served: Served) -> WatchAnswer:
        representation, _ = self._representation(request, served)
        options = ListOptions.read(request.query, watch=True)
        selection = Selection.of(served, self._target(request, served).namespace, options)
        if request.info.name:
            selection = selection.named(request.info.name)
        watch = Watch(self._core.storage, selection, options)
        return WatchAnswer(watch, representation, options.bookmarks, options.timeout_seconds)

    # ----------------------------------------------------------------------------------------------------------- writes

    def _context(
        self, request: Request, served: Served, kind: str, *, apply: bool = False
    ) -> WriteContext:
        options = WriteOptions.read(
            request.query, request.dry_run, user_agent=request.user_agent, kind=kind, apply=apply
        )

        def admit(old: Object | None, new: Object) -> None:
            self._access.require_no_escalation(request.user, served, new)
            if old is None and served.collection == "pods":
                self._require_account(new)

        return WriteContext(options=options, admit=admit)

    def _require_account(self, pod: Object) -> None:
        """Reject a pod whose account does not exist; `default` will. Raises `ApiError` (403)."""
        namespace, name = pod["metadata"]["namespace"], pod["metadata"].get("name", "")
        account = pod["spec"].get("serviceAccountName") or "default"
        accounts = self._core.storage.collection("serviceaccounts").records
        if account != "default" and key_of(namespace, account) not in accounts:
            missing = f'serviceaccount "{account}" not found'
            why = f"error looking up service account {namespace}/{account}: {missing}"
            raise forbidden("", "pods", name, why)

    def _admission(
        self, request: Request, served: Served, context: WriteContext, body: Object | None = None
    ) -> Admission | None:
        scaling = None
        if request.info.subresource == "scale":
            parts = self._subresources
            scaling = partial(parts.scale, served), partial(parts.scaled, served)
        return admission_of(
            self._core.webhooks,
            request,
            served,
            warnings=context.warnings,
            body=body,
            dry_run=context.options.dry_run,
            scaling=scaling,
        )

    async def _admitted(
        self, request: Request, served: Served, context: WriteContext, body: Object
    ) -> Object:
        """Return a body that is not stored but acted on, after admission. Raises `ApiError`."""
        admission = self._admission(request, served, context, body)
        if admission is not None:
            if request.info.namespace:
                body.setdefault("metadata", {}).setdefault("namespace", request.info.namespace)
            body = await admission.mutate(None, body)
            await admission.validate(None, body)
        return body

    @staticmethod
    def _body(request: Request, gvk: GroupVersionKind, *, builtin: bool = True) -> Object:
        """Return the object of a request, of the kind that is due. Raises `ApiError` (400, 415)."""
        return read_object(request.body, request.content_type, gvk, builtin=builtin)

    def _decode(self, request: Request, served: Served, context: WriteContext) -> Object:
        obj = self._body(request, served.gvk, builtin=served.builtin)
        return served.strategy.decode(
            obj, validation=context.options.field_validation, warnings=context.warnings
        )

    @staticmethod
    def _written(
        written: Written, context: WriteContext, representation: Representation, form: Form
    ) -> Answer:
        body = (
            representation.stored(written.record)
            if written.record is not None
            else representation.one(written.obj)
        )
        return Answer(body, 201 if written.created else 200, form.media, warnings=context.warnings)

    async def _create(self, request: Request, served: Served) -> Answer:
        representation, form = self._representation(request, served)
        context = self._context(request, served, "CreateOptions")
        target = self._target(request, served)
        if (served.group, served.plural) in REVIEWS:
            asked = await self._admitted(
                request, served, context, self._decode(request, served, context)
            )
            review = self._access.review(request.user, served.plural, asked)
            return Answer(encode(review), 201, form.media, warnings=context.warnings)
        if target.subresource:
            return await self._post(request, target, context)
        with _warned(context):
            obj = self._decode(request, served, context)
            if served.collection == "bindings":
                return await self._bind(
                    target, await self._admitted(request, served, context, obj), context
                )
            context = replace(context, admission=self._admission(request, served, context, obj))
            written = await self._core.writer.create(
                target, obj, context, self._own(target, context)
            )
        return self._written(written, context, representation, form)

    async def _bind(self, target: Target, obj: Object, context: WriteContext) -> Answer:
        pods = self._core.registry.find("", "v1", "pods")
        assert pods is not None
        binding = Target(pods, target.namespace, obj.get("metadata", {}).get("name", ""), "binding")
        made = await self._subresources.create(binding, obj, context, self._own(binding, context))
        return Answer(encode(made), 201)

    async def _post(self, request: Request, target: Target, context: WriteContext) -> Answer:
        subresource = target.served.subresources[target.subresource]
        if not self._subresources.posts(target.served, target.subresource):
            raise method_not_allowed()
        gvk = subresource.gvk
        body = codec.decode(gvk, self._body(request, gvk)).object if request.body.strip() else {}
        body = await self._admitted(request, target.served, context, body)
        made = await self._subresources.create(target, body, context, self._own(target, context))
        return Answer(encode(made), 201, warnings=context.warnings)

    async def _update(self, request: Request, served: Served) -> Answer:
        representation, form = self._representation(request, served)
        context = self._context(request, served, "UpdateOptions")
        context = replace(context, admission=self._admission(request, served, context))
        target = self._target(request, served)
        with _warned(context):
            if target.subresource == "scale":
                scale = self._body(request, served.subresources["scale"].gvk)
                return await self._scale(target, lambda _: scale, context)
            obj = self._decode(request, served, context)
            change = partial(
                _finalized if target.subresource == "finalize" else _replaced, served, obj
            )
            create = (
                (lambda: obj)
                if served.strategy.create_on_update and not target.subresource
                else None
            )
            own = self._own(target, context)
            written = await self._core.writer.change(target, change, context, own, or_create=create)
        return self._written(written, context, representation, form)

    async def _scale(
        self, target: Target, change: Callable[[Object], Object], context: WriteContext
    ) -> Answer:
        served = target.served

        def scaled(live: Object) -> Object:
            gvk = served.subresources["scale"].gvk
            decoded = codec.decode(
                gvk, change(self._subresources.scale(served, live, changed=True))
            )
            if decoded.unexpected and context.options.field_validation == "Strict":
                raise decoded.strict_error(gvk)
            context.warnings[:] = (
                decoded.unexpected if context.options.field_validation == "Warn" else []
            )
            return self._subresources.scaled(served, live, decoded.object)

        written = await self._core.writer.change(
            target, scaled, context, self._own(target, context)
        )
        return Answer(
            encode(self._subresources.scale(served, written.obj)), warnings=context.warnings
        )

    async def _patch(self, request: Request, served: Served) -> Answer:
        representation, form = self._representation(request, served)
        media = media_type(request.content_type)
        context = self._context(request, served, "PatchOptions", apply=media == APPLY)
        require_patch(served, media)
        context = replace(context, admission=self._admission(request, served, context))
        body = read_patch(request.body, request.content_type)
        target = self._target(request, served)
        with _warned(context):
            if target.subresource == "scale":
                return await self._scale(target, patch_change(served, media, body), context)
            if media == APPLY:
                written = await self._apply(target, body, context)
            else:
                change = partial(
                    _patched, served, patch_change(served, media, body), context, media, body
                )
                written = await self._core.writer.change(
                    target, change, context, self._own(target, context)
                )
        return self._written(written, context, representation, form)

    async def _apply(self, target: Target, body: Object, context: WriteContext) -> Written:
        served, subresource = target.served, target.subresource

        def apply(live: Object | None) -> Object:
            uid = (body.get("metadata") or {}).get("uid")
            if live is None and uid:
                why = f"uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                raise conflict(served.group, served.plural, target.name, why)
            merged = self._core.field_managers.apply(
                served, subresource, context.options, live, body
            )
            if (
                not served.builtin
            ):  # not decoded again: a map that lost all its entries is null, and is an error
                return merged
            try:
                return served.strategy.decode(merged, validation="Ignore", warnings=[])
            except DecodeError as error:
                raise apply_conversion_error(served.gvk, body, error) from None

        create = None if subresource else partial(apply, None)
        return await self._core.writer.change(target, apply, context, or_create=create)

    # -------------------------------------------------------------------------------------------------------- deletions

    @staticmethod
    def _delete_options(request: Request) -> tuple[DeleteOptions, Object]:
        """Return the options of a deletion, and as they were given. Raises `ApiError` (400, 422)."""
        body = read_delete_options(request.body, request.content_type)
        options = DeleteOptions.read(request.query, request.dry_run, body)
        query = request.query
        asked = {
            "gracePeriodSeconds": options.grace_period_seconds,
            "propagationPolicy": query.get("propagationPolicy"),
            "dryRun": list(request.dry_run),
        }
        return options, body or asked

    async def _delete(self, request: Request, served: Served) -> Answer:
        _, form = self._representation(request, served)
        options, given = self._delete_options(request)
        target = self._target(request, served)
        warnings: list[str] = []
        delete = self._deletion(request, served, options, given, warnings)
        return Answer(
            encode(await delete(target.namespace, target.name)), media=form.media, warnings=warnings
        )

    async def _delete_collection(self, request: Request, served: Served) -> Answer:
        representation, form = self._representation(request, served)
        options, given = self._delete_options(request)
        listed = ListOptions.read(request.query, watch=False)
        page = read_list(
            self._core.storage,
            Selection.of(served, self._target(request, served).namespace, listed),
            listed,
        )
        warnings: list[str] = []
        delete = self._deletion(request, served, options, given, warnings)
        for record in page.records:
            try:
                await delete(record.namespace, record.name)
            except ApiError as error:
                if error.code != 404:  # deleted during admission
                    raise
        return Answer(representation.page(page), media=form.media, warnings=warnings)

    def _deletion(
        self,
        request: Request,
        served: Served,
        options: DeleteOptions,
        given: Object,
        warnings: list[str],
    ) -> Callable[[str, str], Awaitable[Object]]:
        """Return what deletes one object of a resource."""
        deleter = self._core.deleter
        admission = admission_of(
            self._core.webhooks,
            request,
            served,
            warnings=warnings,
            dry_run=options.dry_run,
            deletes=given,
        )

        async def delete(namespace: str, name: str) -> Object:
            if admission is None:
                return deleter.delete(served, namespace, name, options)
            return await deleter.delete_reviewed(served, namespace, name, options, admission.delete)

        return delete


@contextmanager
def _warned(context: WriteContext) -> Iterator[None]:
    """Add the warnings so far to an API error."""
    try:
        yield
    except ApiError as error:
        error.warnings = tuple(dict.fromkeys((*context.warnings, *error.warnings)))
        raise


def _replaced(served: Served, obj: Object, live: Object) -> Object:
    """Return what a live object is replaced by. Raises `ApiError` (409) when another one was meant."""
    uid, found = obj["metadata"].get("uid"), live["metadata"]["uid"]
    if uid and uid != found:
        metadata = live["metadata"]
        key = served.storage_key(metadata.get("namespace", ""), metadata["name"])
        why = (
            f"StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: "
            f"Precondition failed: UID in precondition: {uid}, UID in object meta: {found}"
        )
        raise conflict(served.group, served.plural, metadata["name"], why)
    return obj


def _finalized(_: Served, obj: Object, live: Object) -> Object:
    """Return a live namespace with the finalizers of another, which is all that /finalize changes."""
    revision = obj["metadata"].get("resourceVersion")
    if revision:
        live["metadata"]["resourceVersion"] = revision
    live.setdefault("spec", {})["finalizers"] = (obj.get("spec") or {}).get("finalizers") or []
    if not live["spec"]["finalizers"]:
        live["spec"].pop("finalizers")
    return live


def _patched(
    served: Served,
    change: Callable[[Object], Object],
    context: WriteContext,
    media: str,
    patch: Any,
    live: Object,
) -> Object:
    """Return a live object after a patch, with nothing in it that its kind does not have. Raises `ApiError`.

    A patched object is decoded as a whole, and shown if that fails; with a strategic patch it is converted.
    """
    context.warnings.clear()
    patched = change(live)
    if not served.builtin:
        require_kind(patched)
    try:
        if served.builtin:
            require_built_in(patched, served.gvk)
        return served.strategy.decode(
            patched, validation=context.options.field_validation, warnings=context.warnings
        )
    except ApiError as error:
        if isinstance(error, DecodeError) and media == STRATEGIC:
            raise strategic_conversion_error(patch, error) from None
        if error.code == 400 and media != STRATEGIC:
            raise patched_decode_error(patched, patch, error, builtin=served.builtin) from None
        raise
