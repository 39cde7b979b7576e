"""Parts of objects that have an address and a meaning of their own.

What belongs here: scale, binding, eviction, ephemeral containers and resize, the tokens of service accounts, and the
finalization of namespaces. What does not: status, which the write path knows.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from operatorkit.clock import format_time
from operatorkit.controlplane.embedded.auth.tokens import AUDIENCE, Tokens
from operatorkit.controlplane.embedded.endpoints.core import Core
from operatorkit.controlplane.embedded.endpoints.evicting import Evictions
from operatorkit.controlplane.embedded.endpoints.reading import read_one
from operatorkit.controlplane.embedded.endpoints.writing import (
    Ownership,
    Target,
    WriteContext,
    require_name,
)
from operatorkit.controlplane.embedded.errors.errors import (
    bad_request,
    conflict,
    internal_error,
    invalid,
    not_found,
)
from operatorkit.controlplane.embedded.errors.jsonpath import JSONPath
from operatorkit.controlplane.embedded.registry.selectors import selector_text
from operatorkit.controlplane.embedded.registry.table import Served
from operatorkit.crd import field_errors

__all__ = ["Subresources"]

Object = dict[str, Any]

_SCALE = {"kind": "Scale", "apiVersion": "autoscaling/v1"}
_UNSET = -(2**31)
_TOKEN_MIN_SECONDS = 600
_TOKEN_MAX_SECONDS = 1 << 32


class Subresources:
    """Reads and writes the parts of objects."""

    def __init__(self, core: Core, tokens: Tokens) -> None:
        self._core = core
        self._tokens = tokens
        self._evictions = Evictions(core)
        self._creates = {
            ("pods", "binding"): self._bind,
            ("pods", "eviction"): self._evict,
            ("serviceaccounts", "token"): self._token,
        }

    # ------------------------------------------------------------------------------------------------------------ scale

    def shown_scale(self, served: Served, obj: Object) -> Object:
        """Return the Scale of an object for a reader. Raises `ApiError` (500) where it has no replicas yet."""
        if not served.builtin:
            path = served.definition["subresources"]["scale"]["specReplicasPath"]
            if _first(obj, path) is None:
                raise internal_error(f'the spec replicas field "{path}" does not exist')
        return self.scale(served, obj)

    def scale(self, served: Served, obj: Object, *, changed: bool = False) -> Object:
        """Return the Scale of an object, of none where it has no replicas yet.

        One that is to be changed says by a number that cannot be meant that there were none.
        """
        metadata = obj["metadata"]
        kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        scale = {**_SCALE, "metadata": {key: metadata[key] for key in kept if key in metadata}}
        if served.builtin:
            replicas = obj.get("spec", {}).get("replicas", 1)
            status = {"replicas": obj.get("status", {}).get("replicas", 0)}
            selector = selector_text(obj.get("spec", {}).get("selector"))
        else:
            paths = served.definition["subresources"]["scale"]
            replicas = _first(obj, paths["specReplicasPath"])
            replicas = _UNSET if replicas is None and changed else replicas or 0
            status = {"replicas": _first(obj, paths["statusReplicasPath"]) or 0}
            selector = (
                _first(obj, paths.get("labelSelectorPath", ""))
                if paths.get("labelSelectorPath")
                else ""
            )
        if selector:
            status["selector"] = selector
        return {**scale, "spec": {"replicas": replicas} if replicas else {}, "status": status}

    def scaled(self, served: Served, obj: Object, scale: Object) -> Object:
        """Return an object with the replicas of a Scale. Raises `ApiError` (400, 409, 422)."""
        name, uid = obj["metadata"]["name"], obj["metadata"]["uid"]
        replicas = scale["spec"].get("replicas", 0)
        if replicas == _UNSET:
            path = served.definition["subresources"]["scale"]["specReplicasPath"]
            raise bad_request(f'the spec replicas field "{path}" cannot be empty')
        if replicas < 0 and served.builtin:
            error = field_errors.invalid(
                "spec.replicas", replicas, "must be greater than or equal to 0"
            )
            raise invalid("autoscaling", "Scale", name, [error])
        metadata = scale.get("metadata") or {}
        require_name(metadata, name)
        if metadata.get("uid") and metadata["uid"] != uid:
            why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {uid}"
            raise conflict(
                served.group,
                f"{served.plural}/scale" if served.builtin else served.plural,
                name,
                why,
            )
        revision = metadata.get("resourceVersion")
        if revision and revision != obj["metadata"]["resourceVersion"]:
            raise conflict(served.group, served.plural, name)
        path = (
            ".spec.replicas"
            if served.builtin
            else served.definition["subresources"]["scale"]["specReplicasPath"]
        )
        *parents, last = path.lstrip(".").split(".")
        part = obj
        for parent in parents:
            part = part.setdefault(parent, {})
        part[last] = replicas
        return obj

    # ---------------------------------------------------------------------------------------------------------- creates

    def posts(self, served: Served, subresource: str) -> bool:
        """Whether a subresource is one that is posted to."""
        return (served.plural, subresource) in self._creates

    async def create(
        self, target: Target, body: Object, context: WriteContext, own: Ownership
    ) -> Object:
        """Carry out a post to a subresource and return the answer. Raises `ApiError`."""
        return await self._creates[target.served.plural, target.subresource](
            target, body, context, own
        )

    async def _bind(
        self, target: Target, body: Object, context: WriteContext, own: Ownership
    ) -> Object:
        node = (body.get("target") or {}).get("name", "")
        uid = (body.get("metadata") or {}).get("uid", "")
        if not node:
            raise invalid("", "Binding", target.name, [field_errors.required("target.name")])

        def bind(pod: Object) -> Object:
            if uid and uid != pod["metadata"]["uid"]:
                why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {pod['metadata']['uid']}"
                raise conflict("", "pods", target.name, why)
            if pod["metadata"].get("deletionTimestamp"):
                raise conflict(
                    "",
                    "pods/binding",
                    target.name,
                    f"pod {target.name} is being deleted, cannot be assigned to a host",
                )
            if pod["spec"].get("nodeName"):
                assigned = (
                    f'pod {target.name} is already assigned to node "{pod["spec"]["nodeName"]}"'
                )
                raise conflict("", "pods/binding", target.name, assigned)
            pod["spec"]["nodeName"] = node
            for key in ("annotations", "labels"):
                if given := (body.get("metadata") or {}).get(key):
                    pod["metadata"][key] = {**(pod["metadata"].get(key) or {}), **given}
            conditions = pod.setdefault("status", {}).setdefault("conditions", [])
            conditions[:] = [it for it in conditions if it["type"] != "PodScheduled"]
            now = format_time(self._core.clock.now())
            conditions.append(
                {
                    "type": "PodScheduled",
                    "status": "True",
                    "lastProbeTime": None,
                    "lastTransitionTime": now,
                }
            )
            return pod

        await self._core.writer.change(target, bind, context, own)
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "code": 201,
        }

    async def _evict(
        self, target: Target, body: Object, context: WriteContext, own: Ownership
    ) -> Object:
        del own
        return await self._evictions.evict(target, body, context.options)

    async def _token(
        self, target: Target, body: Object, context: WriteContext, own: Ownership
    ) -> Object:
        del context, own
        account = target.served.read(
            read_one(self._core.storage, target.served, target.namespace, target.name)
        )
        spec = body.get("spec") or {}
        seconds = spec.get("expirationSeconds") or 3600
        if not isinstance(seconds, int) or not _TOKEN_MIN_SECONDS <= seconds <= _TOKEN_MAX_SECONDS:
            limit = (
                "less than 10 minutes"
                if seconds < _TOKEN_MIN_SECONDS
                else "larger than 2^32 seconds"
            )
            text = f"may not specify a duration {limit}"
            error = field_errors.invalid("spec.expirationSeconds", seconds, text)
            raise invalid("authentication.k8s.io", "TokenRequest", "", [error])
        bound_to = spec.get("boundObjectRef")
        if bound_to is not None:
            bound_to = self._bound(target.namespace, bound_to)
        audiences = spec.get("audiences") or [AUDIENCE]
        lifetime = timedelta(seconds=seconds)
        token = self._tokens.issue(
            account, lifetime=lifetime, audiences=audiences, bound_to=bound_to
        )
        now = self._core.clock.now()
        return {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {
                "name": target.name,
                "namespace": target.namespace,
                "creationTimestamp": format_time(now),
            },
            "spec": {
                "audiences": audiences,
                "expirationSeconds": seconds,
                "boundObjectRef": spec.get("boundObjectRef"),
            },
            "status": {"token": token, "expirationTimestamp": format_time(now + lifetime)},
        }

    def _bound(self, namespace: str, reference: Object) -> Object:
        plural = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}.get(
            reference.get("kind", "")
        )
        if plural is None:
            raise bad_request(f"cannot bind token for serviceaccount to {reference.get('kind')!r}")
        place = "" if plural == "nodes" else f"{namespace}/"
        record = self._core.storage.collection(plural).records.get(
            f"{place}{reference.get('name', '')}"
        )
        if record is None:
            raise not_found("", plural, reference.get("name", ""))
        if reference.get("uid") and reference["uid"] != record.uid:
            why = f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
            raise conflict(
                "",
                plural,
                record.name,
                f"{why}The object might have been deleted and then recreated",
            )
        return {"kind": reference["kind"], "name": record.name, "uid": record.uid}


def _first(obj: Object, path: str) -> Any:
    values = JSONPath(path).find(obj)
    return values[0] if values else None
