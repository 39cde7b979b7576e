"""The cells of services, endpoints and what leads to them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from operatorkit.controlplane.embedded.printers.cells import (
    age_of,
    first_three,
    labels_text,
    name_of,
    part,
    selector_or_none,
)

__all__ = [
    "endpoint_slice",
    "endpoints",
    "ingress",
    "ingress_class",
    "ip_address",
    "network_policy",
    "service",
    "service_cidr",
]

JSONObject = Mapping[str, Any]


def _addresses(status: JSONObject) -> list[str]:
    ingress = part(status, "loadBalancer").get("ingress") or ()
    return sorted({it.get("ip") or it.get("hostname") or "" for it in ingress} - {""})


def service(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a service."""
    spec = part(obj, "spec")
    external = list(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "ClusterIP" | "NodePort":
            outside = ",".join(external) or "<none>"
        case "LoadBalancer":
            outside = ",".join([*_addresses(part(obj, "status")), *external]) or "<pending>"
        case "ExternalName":
            outside = spec.get("externalName", "")
        case _:
            outside = "<unknown>"
    ports = [
        f"{it['port']}:{it['nodePort']}/{it['protocol']}"
        if it.get("nodePort")
        else f"{it['port']}/{it['protocol']}"
        for it in spec.get("ports") or ()
    ]
    inside = (spec.get("clusterIPs") or ["<none>"])[0]
    own = [spec.get("type", ""), inside, outside, ",".join(ports) or "<none>"]
    return [name_of(obj), *own, age_of(obj, now), labels_text(spec.get("selector"))]


def ingress(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of an ingress."""
    spec = part(obj, "spec")
    hosts = [it["host"] for it in spec.get("rules") or () if it.get("host")]
    ports = "80, 443" if spec.get("tls") else "80"
    address = ",".join(_addresses(part(obj, "status")))
    own = [spec.get("ingressClassName", "<none>"), first_three(hosts, nothing="*"), address, ports]
    return [name_of(obj), *own, age_of(obj, now)]


def ingress_class(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of an ingress class."""
    spec = part(obj, "spec")
    name = name_of(obj)
    if (
        part(obj["metadata"], "annotations").get("ingressclass.kubernetes.io/is-default-class")
        == "true"
    ):
        name += " (default)"
    parameters = spec.get("parameters")
    text = "<none>"
    if parameters:
        text = (
            f"{parameters['kind']}.{parameters.get('apiGroup', '')}".rstrip(".")
            + f"/{parameters['name']}"
        )
    return [name, spec.get("controller", ""), text, age_of(obj, now)]


def endpoints(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of endpoints."""
    found = []
    for subset in obj.get("subsets") or ():
        addresses = [it["ip"] for it in subset.get("addresses") or ()]
        for port in subset.get("ports") or (None,):
            for ip in addresses:
                shown = f"[{ip}]" if ":" in ip and port else ip
                found.append(f"{shown}:{port['port']}" if port else ip)
    return [name_of(obj), first_three(found), age_of(obj, now)]


def endpoint_slice(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of an endpoint slice."""
    ports = [str(it.get("port") or it.get("name") or "*") for it in obj.get("ports") or ()]
    found = [ip for it in obj.get("endpoints") or () for ip in it.get("addresses") or ()]
    shown = [first_three(it, nothing="<unset>") for it in (ports, found)]
    return [name_of(obj), obj.get("addressType", ""), *shown, age_of(obj, now)]


def network_policy(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a network policy."""
    return [name_of(obj), selector_or_none(part(obj, "spec").get("podSelector")), age_of(obj, now)]


def service_cidr(obj: JSONObject, now: datetime) -> list[Any]:
    """Return the cells of a service cidr."""
    return [name_of(obj), ",".join(part(obj, "spec").get("cidrs") or ()), age_of(obj, now)]


def ip_address(obj: JSONObject, _: datetime) -> list[Any]:
    """Return the cells of an ip address."""
    parent = part(obj, "spec").get("parentRef")
    if not parent:
        return [name_of(obj), "<none>"]
    resource = f"{parent.get('resource', '')}.{parent.get('group', '')}".rstrip(".").lower()
    return [
        name_of(obj),
        "/".join(filter(None, (resource, parent.get("namespace"), parent.get("name")))),
    ]
