"""What is checked before an operator starts, so that it fails with one clear line instead of failing later, in parts.

What belongs here: is the API server reachable, does it serve every kind that is declared, and does the operator have
the permissions that it needs. What does not: repairing any of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from operatorkit.cluster import ClusterAPI
from operatorkit.definitions import is_own
from operatorkit.errors import Forbidden, InputError, NoKindMatch
from operatorkit.names import ApiResource, ObjectKey
from operatorkit.operator import Operator
from operatorkit.permissions import HandlerNeed, Permission, permissions
from operatorkit.resource import api_resource_of

__all__ = ["check"]

_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def check(
    app: Operator,
    api: ClusterAPI,
    *,
    namespace: str | None = None,
    origin: str = "MODULE",
    handlers: Iterable[HandlerNeed] = (),
    lease: ObjectKey | None = None,
) -> None:
    """Check all of it, also what kopf needs for `handlers`, and leader election for `lease`.

    Raises InputError that names every kind, or permission, that is missing; and ClusterError.
    """
    await _check_kinds(app, api, origin)
    found = permissions(app, handlers=handlers, lease=lease.name if lease is not None else None)
    required = [permission for permission in found if permission.required]
    await _check_permissions(required, api, namespace, lease.namespace if lease is not None else "")


async def _check_kinds(app: Operator, api: ClusterAPI, origin: str) -> None:
    missing: list[ApiResource] = []
    own: list[ApiResource] = []
    for kind in app.kinds():
        resource = api_resource_of(kind)
        if resource in app.optional_kinds:
            continue
        try:
            await api.resolve(resource.group, resource.kind, resource.version)
        except NoKindMatch:
            (own if is_own(app, kind) else missing).append(resource)
    if own:
        raise InputError(
            f"the API server does not serve {_listed(own)}: install the definitions first, with "
            f"`operatorkit crd render {origin} | kubectl apply --server-side -f -`"
        )
    if missing:
        raise InputError(
            f"the API server does not serve {_listed(missing)}, which {app.name} needs: install them first"
        )


def _listed(resources: Iterable[ApiResource]) -> str:
    return ", ".join(f"{resource.kind} ({resource.api_version})" for resource in resources)


async def _check_permissions(
    needed: list[Permission], api: ClusterAPI, namespace: str | None, own_namespace: str
) -> None:
    try:
        allowed = await asyncio.gather(
            *(
                _is_allowed(permission, api, own_namespace if permission.own else namespace)
                for permission in needed
            )
        )
    except Forbidden:
        return  # the cluster denies these reviews: what is missing will be named when it is needed
    missing = [permission for permission, yes in zip(needed, allowed, strict=True) if not yes]
    if missing:
        where = f"in namespace {namespace}" if namespace else "in all namespaces"
        lines = "".join(
            f"\n  {permission}{f' (in {own_namespace})' if permission.own else ''}"
            for permission in missing
        )
        raise InputError(
            f"these permissions {where} are missing: grant them with a Role or ClusterRole:{lines}"
        )


async def _is_allowed(permission: Permission, api: ClusterAPI, namespace: str | None) -> bool:
    resource, _, subresource = permission.resource.partition("/")
    attributes = {"verb": permission.verb, "group": permission.group, "resource": resource}
    if subresource:
        attributes["subresource"] = subresource
    if namespace and permission.namespaced:
        attributes["namespace"] = namespace
    if permission.names:
        attributes["name"] = permission.names[0]
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    answer = await api.request("POST", _REVIEWS, body=review)
    return bool(answer["status"].get("allowed"))
