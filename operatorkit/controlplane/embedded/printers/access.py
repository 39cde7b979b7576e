"""The cells of what decides about requests: bindings, webhooks, policies, claims."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from operatorkit.controlplane.embedded.printers.ages import human_duration
from operatorkit.controlplane.embedded.printers.cells import age_of, name_of, part, selector_or_none

__all__ = [
    "admission_binding",
    "admission_policy",
    "api_service",
    "binding",
    "component_status",
    "flow_schema",
    "priority_level",
    "resource_claim",
    "resource_slice",
    "signing_request",
    "webhooks",
]

JSONObject = Mapping[str, Any]


def binding(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a binding."""
    role, subjects = part(obj, "roleRef"), obj.get("subjects") or ()
    names = [
        ", ".join(it["name"] for it in subjects if it.get("kind") == kind)
        for kind in ("User", "Group")
    ]
    accounts = [
        f"{it.get('namespace', '')}/{it['name']}"
        for it in subjects
        if it.get("kind") == "ServiceAccount"
    ]
    return [
        name_of(obj),
        f"{role.get('kind')}/{role.get('name')}",
        age_of(obj, now),
        *names,
        ", ".join(accounts),
    ]


def signing_request(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a signing request."""
    spec, status = part(obj, "spec"), part(obj, "status")
    types = {it.get("type") for it in status.get("conditions") or ()}
    words = ["Denied" if "Denied" in types else "Approved" if "Approved" in types else "Pending"]
    words += ["Failed"] if "Failed" in types else []
    words += ["Issued"] if status.get("certificate") else []
    seconds = spec.get("expirationSeconds")
    lasting = "<none>" if seconds is None else human_duration(timedelta(seconds=seconds))
    own = [spec.get("signerName") or "<none>", spec.get("username", ""), lasting]
    return [name_of(obj), age_of(obj, now), *own, ",".join(words)]


def api_service(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of an api service."""
    service = part(obj, "spec").get("service")
    available: JSONObject = next(
        (it for it in part(obj, "status").get("conditions") or () if it.get("type") == "Available"),
        {},
    )
    status = available.get("status", "Unknown")
    if status == "False" and available.get("reason"):
        status = f"False ({available['reason']})"
    where = f"{service['namespace']}/{service['name']}" if service else "Local"
    return [name_of(obj), where, status, age_of(obj, now)]


def webhooks(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of webhook configurations."""
    return [name_of(obj), len(obj.get("webhooks") or ()), age_of(obj, now)]


def admission_policy(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of an admission policy."""
    spec = part(obj, "spec")
    parameters = spec.get("paramKind")
    kind = (
        f"{parameters.get('apiVersion', '')}/{parameters.get('kind', '')}"
        if parameters
        else "<unset>"
    )
    rules = spec.get("validations") or spec.get("mutations") or ()
    return [name_of(obj), len(rules), kind, age_of(obj, now)]


def admission_binding(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of an admission binding."""
    spec = part(obj, "spec")
    parameters = spec.get("paramRef") or {}
    text = "<unset>"
    if parameters.get("name"):
        text = f"{parameters.get('namespace') or '*'}/{parameters['name']}"
    elif parameters.get("selector"):
        text = selector_or_none(parameters["selector"])
    return [name_of(obj), spec.get("policyName", ""), text, age_of(obj, now)]


def flow_schema(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a flow schema."""
    spec = part(obj, "spec")
    dangling = [
        it["status"]
        for it in part(obj, "status").get("conditions") or ()
        if it.get("type") == "Dangling"
    ]
    level = part(spec, "priorityLevelConfiguration").get("name", "")
    method = part(spec, "distinguisherMethod").get("type", "<none>")
    return [
        name_of(obj),
        level,
        spec.get("matchingPrecedence", 0),
        method,
        age_of(obj, now),
        (dangling or ["?"])[0],
    ]


def priority_level(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a priority level."""
    spec = part(obj, "spec")
    limited = spec.get("limited") or {}
    queuing = part(limited, "limitResponse").get("queuing") or {}
    shares = limited.get("nominalConcurrencyShares", "<none>")
    queues = [queuing.get(it, "<none>") for it in ("queues", "handSize", "queueLengthLimit")]
    return [name_of(obj), spec.get("type", ""), shares, *queues, age_of(obj, now)]


def resource_claim(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a resource claim."""
    status = part(obj, "status")
    words = ["deleted"] if "deletionTimestamp" in obj["metadata"] else []
    words += ["allocated"] if status.get("allocation") else ["pending"] if not words else []
    words += ["reserved"] if status.get("reservedFor") else []
    return [name_of(obj), ",".join(words), age_of(obj, now)]


def resource_slice(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a resource slice."""
    spec = part(obj, "spec")
    own = [
        spec.get("nodeName", "<unset>"),
        spec.get("driver", ""),
        part(spec, "pool").get("name", ""),
    ]
    return [name_of(obj), *own, age_of(obj, now)]


def component_status(obj: JSONObject, _: datetime) -> list[Any]:
    """Return the cells of a component status."""
    healthy: JSONObject = next(
        (it for it in obj.get("conditions") or () if it.get("type") == "Healthy"), {}
    )
    status = {"True": "Healthy", "False": "Unhealthy"}.get(healthy.get("status", ""), "Unknown")
    return [name_of(obj), status, healthy.get("message", ""), healthy.get("error", "")]
