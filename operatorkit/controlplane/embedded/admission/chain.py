"""The order in which webhooks are called for one write.

    mutating: one by one, each sees what the one before made of the object; a second round for `IfNeeded`
    validating: all at once; the first denial counts

What belongs here: that order, failurePolicy, dry runs, warnings. What does not: matching, reviews and HTTP.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from operatorkit.controlplane.embedded.admission.calling import Caller
from operatorkit.controlplane.embedded.admission.hooks import (
    GROUP,
    Attributes,
    Hook,
    Invocation,
    Matcher,
    hooks_in,
    is_exempt,
)
from operatorkit.controlplane.embedded.admission.review import (
    CallFailed,
    Verdict,
    denial,
    read_verdict,
    review_of,
)
from operatorkit.controlplane.embedded.errors.errors import ApiError, bad_request, internal_error
from operatorkit.controlplane.embedded.fields.patch import json_patch
from operatorkit.controlplane.embedded.fields.typed import equal
from operatorkit.controlplane.embedded.registry.table import Registry, Served
from operatorkit.controlplane.embedded.scheme.decode_error import DecodeError
from operatorkit.controlplane.embedded.storage.store import Storage

__all__ = ["Admission", "Shape", "Webhooks"]

Object = dict[str, Any]

_log = logging.getLogger(__name__)


class Webhooks:
    """The webhooks of one server."""

    def __init__(self, storage: Storage, registry: Registry) -> None:
        self._collections = [
            storage.collection(f"{kind}webhookconfigurations.{GROUP}")
            for kind in ("mutating", "validating")
        ]
        self._known: list[list[Hook]] | None = None
        self.matcher: Matcher = Matcher(storage, registry)
        self.caller: Caller = Caller(storage)
        for collection in self._collections:
            collection.subscribe(self._forget)

    def _forget(self, _: object) -> None:
        self._known = None

    def _hooks(self) -> list[list[Hook]]:
        if self._known is None:
            self._known = [hooks_in(collection) for collection in self._collections]
        return self._known

    @property
    def mutating(self) -> Sequence[Hook]:
        """The mutating webhooks, in order."""
        return self._hooks()[0]

    @property
    def validating(self) -> Sequence[Hook]:
        """The validating webhooks, in order."""
        return self._hooks()[1]

    def concern(self, served: Served) -> bool:
        """Whether a webhook may be called for writes of a resource."""
        return any(self._hooks()) and not is_exempt(served)

    async def close(self) -> None:
        """Close every connection."""
        await self.caller.close()


@dataclass(frozen=True, slots=True)
class Shape:
    """How the objects of the write path look to webhooks, and how what those make of them gets back.

    `show` gives what is shown of an object; `take` gives the object that has what a webhook returned. `decode` reads
    what a patch has made of an object, in the version that the webhook was shown, and `default` fills in its defaults,
    in place.
    """

    show: Callable[[Object], Object]
    take: Callable[[Object, Object], Object]
    decode: Callable[[Object, Invocation], Object]
    default: Callable[[Object, Invocation], None]


class Admission:
    """Asks the webhooks about one request. `warnings` collects what they say."""

    def __init__(
        self, webhooks: Webhooks, attributes: Attributes, shape: Shape, warnings: list[str]
    ) -> None:
        self._webhooks = webhooks
        self._attributes = attributes
        self._shape = shape
        self._warnings = warnings

    async def mutate(self, old: Object | None, new: Object) -> Object:
        """Return what the mutating webhooks make of an object: `new` itself when they leave it as it is.

        Raises `ApiError` for a denial.
        """
        before = None if old is None else self._shape.show(old)
        shown = self._shape.show(new)
        made = await self._mutated(self._of(old), before, shown)
        return new if made is shown or made is None else self._shape.take(new, made)

    async def validate(self, old: Object | None, new: Object) -> None:
        """Return when every validating webhook allows. Raises `ApiError` for a denial."""
        before = None if old is None else self._shape.show(old)
        attributes = self._of(old)
        name = attributes.name or str(
            new["metadata"].get("name") or ""
        )  # by now it may have been generated
        await self._validated(replace(attributes, name=name), before, self._shape.show(new))

    async def delete(self, old: Object) -> None:
        """Return when every webhook allows the deletion of an object. Raises `ApiError` for a denial."""
        before = self._shape.show(old)
        await self._mutated(self._attributes, before, None)
        await self._validated(self._attributes, before, None)

    def _of(self, old: Object | None) -> Attributes:
        """Return the attributes of a write, which is known to create only when there is nothing to update."""
        operation = "CREATE" if old is None else "UPDATE"
        options = dict(self._attributes.options) | {"kind": f"{operation.capitalize()}Options"}
        return replace(self._attributes, operation=operation, options=options)

    # ------------------------------------------------------------------------------------------------------- mutating

    async def _mutated(
        self, attributes: Attributes, old: Object | None, new: Object | None
    ) -> Object | None:
        seen: set[Hook] = set()  # called, and called again when a later one changes the object
        again: set[Hook] = set()
        changed_once = False
        for hook in self._webhooks.mutating:
            new, changed = await self._mutate_by(hook, attributes, old, new)
            if changed:
                changed_once = True
                again |= seen
                seen = set()
            if changed is not None and hook.reinvocable:
                seen.add(hook)
        if changed_once and again:
            for hook in [it for it in self._webhooks.mutating if it in again]:
                new, _ = await self._mutate_by(hook, attributes, old, new)
        return new

    async def _mutate_by(
        self, hook: Hook, attributes: Attributes, old: Object | None, new: Object | None
    ) -> tuple[Object | None, bool | None]:
        """Return the object after a webhook, and whether it changed it; None when it was not asked."""
        invocation = self._webhooks.matcher.match(hook, attributes, old, new)
        if invocation is None:
            return new, None
        try:
            verdict = await self._call(invocation, attributes, old, new, mutating=True)
        except CallFailed as error:
            self._pass_over(hook, error)
            return new, False
        if not verdict.patch:
            return new, False
        return self._patched(invocation, attributes, new, verdict.patch)

    def _patched(
        self, invocation: Invocation, attributes: Attributes, new: Object | None, patch: list[Any]
    ) -> tuple[Object, bool]:
        """Return the object after a patch, and whether that is another one. Raises `ApiError` (500)."""
        if new is None:
            text = "attempted to modify the object, which is not supported for this operation"
            raise self._with_warnings(
                internal_error(f'admission webhook "{invocation.hook.name}" {text}')
            )
        try:
            before = _as(invocation, new)
            made = self._shape.decode(json_patch(before, patch), invocation)
        except DecodeError as error:
            raise self._with_warnings(internal_error(error.why)) from None
        except ApiError as error:
            if error.code == 500:  # worded already
                raise self._with_warnings(error) from None
            raise self._with_warnings(internal_error(str(error.__cause__ or error))) from None
        changed = not equal(
            made, before
        )  # before defaults: to have removed one is a change, though it comes back
        self._shape.default(made, invocation)
        return _as(invocation, made, back=attributes), changed

    # ----------------------------------------------------------------------------------------------------- validating

    async def _validated(
        self, attributes: Attributes, old: Object | None, new: Object | None
    ) -> None:
        match = self._webhooks.matcher.match
        found = [match(hook, attributes, old, new) for hook in self._webhooks.validating]
        invocations = [it for it in found if it is not None]
        denials: list[ApiError] = []

        async def call(invocation: Invocation) -> None:
            try:
                await self._call(invocation, attributes, old, new, mutating=False)
            except CallFailed as error:
                try:
                    self._pass_over(invocation.hook, error)
                except ApiError as denied:
                    denials.append(denied)
            except ApiError as denied:
                denials.append(denied)

        if invocations:
            async with asyncio.TaskGroup() as group:
                for invocation in invocations:
                    group.create_task(call(invocation))
        if denials:
            raise denials[0]

    # -------------------------------------------------------------------------------------------------------- calling

    async def _call(
        self,
        invocation: Invocation,
        attributes: Attributes,
        old: Object | None,
        new: Object | None,
        *,
        mutating: bool,
    ) -> Verdict:
        """Return the verdict of a webhook that allows. Raises `ApiError` for a denial, `CallFailed`."""
        hook = invocation.hook
        if attributes.dry_run and not hook.harmless_when_dry:
            raise self._with_warnings(
                bad_request(f'admission webhook "{hook.name}" does not support dry run')
            )
        before = None if old is None else _as(invocation, old)
        after = None if new is None else _as(invocation, new)
        review = review_of(invocation, attributes, before, after)
        reply = await self._webhooks.caller.ask(hook, review)
        verdict = read_verdict(reply.body, review, mutating=mutating, media=reply.media)
        self._warnings.extend(
            it for it in verdict.warnings if it not in self._warnings and _is_one_line(it)
        )
        if not verdict.allowed:
            raise self._with_warnings(denial(hook.name, verdict.result))
        return verdict

    def _pass_over(self, hook: Hook, error: CallFailed) -> None:
        """Go on without a webhook's answer, when it may be done without. Raises `ApiError` (500) otherwise."""
        text = f'failed calling webhook "{hook.name}": {error}'
        if not hook.fails_open:
            raise self._with_warnings(internal_error(text)) from None
        _log.warning("%s; its failurePolicy is Ignore", text)

    def _with_warnings(self, error: ApiError) -> ApiError:
        """Return an error with the warnings so far."""
        error.warnings = tuple(self._warnings)
        return error


def _is_one_line(warning: str) -> bool:
    """Whether a warning can be a header; kube-apiserver drops others."""
    return bool(warning) and all(unicodedata.category(letter) != "Cc" for letter in warning)


def _as(invocation: Invocation, obj: Object, *, back: Attributes | None = None) -> Object:
    """Return a copy of an object in the version that a webhook wants, or `back` in that of the request."""
    kind = back.kind if back is not None else invocation.kind
    if obj.get("apiVersion") == kind.api_version:
        return obj
    return invocation.served.convert(copy.deepcopy(obj), kind)
