"""The hosts file of each pod: names of Services, of their pods and of the API server.

What belongs here: the text, from pods and Services, and writing it in place. What does not: a DNS
server; names that no Service has go to the machine's resolver.

A Service without cluster IP has the addresses of its ready pods (of all with
publishNotReadyAddresses). Other Services have the same here, because nothing routes cluster IPs: a
port that differs from its targetPort is not translated.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from operatorkit.cluster.api import JSONObject
from operatorkit.names import ObjectKey

__all__ = ["DOMAIN", "HostsFiles", "PodName", "hosts_text"]

DOMAIN = "cluster.local"
_HEAD = "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n"


@dataclass(frozen=True, slots=True)
class PodName:
    """What names need of a pod."""

    namespace: str
    labels: Mapping[str, str]
    address: str
    ready: bool
    hostname: str
    subdomain: str

    @classmethod
    def of(cls, pod: JSONObject) -> PodName | None:
        """Return it, or None for a pod that names do not lead to: without address, or ended."""
        status, spec, metadata = pod.get("status") or {}, pod["spec"], pod["metadata"]
        address = status.get("podIP")
        if not address or status.get("phase") in {"Succeeded", "Failed"}:
            return None
        held = {one["type"]: one["status"] for one in status.get("conditions") or ()}
        ready = held.get("Ready") == "True" and "deletionTimestamp" not in metadata
        labels = metadata.get("labels") or {}
        hostname, subdomain = spec.get("hostname", ""), spec.get("subdomain", "")
        return cls(metadata["namespace"], labels, address, ready, hostname, subdomain)


def _by_name(item: tuple[ObjectKey, object]) -> tuple[str, str]:
    return item[0].namespace, item[0].name


def service_lines(service: JSONObject, pods: Iterable[PodName], *, near: bool) -> list[str]:
    """Return the lines of one Service; `near` adds the names that are short within its namespace."""
    spec, metadata = service.get("spec") or {}, service["metadata"]
    selector = spec.get("selector")
    if not selector:
        return []
    name, namespace = metadata["name"], metadata["namespace"]
    lines = []
    for pod in pods:
        if pod.namespace != namespace or not selector.items() <= pod.labels.items():
            continue
        if not pod.ready and not spec.get("publishNotReadyAddresses"):
            continue
        if spec.get("clusterIP") == "None" and pod.hostname and pod.subdomain == name:
            names = _names(f"{pod.hostname}.{name}", namespace, near=near)
            lines.append(f"{pod.address}\t{names}\n")
        lines.append(f"{pod.address}\t{_names(name, namespace, near=near)}\n")
    return lines


def _names(name: str, namespace: str, *, near: bool) -> str:
    long = [f"{name}.{namespace}.svc.{DOMAIN}", f"{name}.{namespace}.svc", f"{name}.{namespace}"]
    return " ".join([*long, name] if near else long)


def hosts_text(pod: JSONObject, address: str, api_host: str, services: Sequence[str]) -> str:
    """Return the hosts file of a pod."""
    spec, metadata = pod["spec"], pod["metadata"]
    hostname = spec.get("hostname") or metadata["name"]
    own = hostname
    if subdomain := spec.get("subdomain"):
        own = f"{hostname}.{subdomain}.{metadata['namespace']}.svc.{DOMAIN} {hostname}"
    api = _names("kubernetes", "default", near=metadata["namespace"] == "default")
    lines = [_HEAD, f"{address}\t{own}\n", f"{api_host}\t{api}\n", *services]
    aliases = spec.get("hostAliases") or ()
    lines += [f"{alias['ip']}\t{' '.join(alias['hostnames'])}\n" for alias in aliases]
    return "".join(lines)


class HostsFiles:
    """The names that are known, and the files that hold them."""

    def __init__(self, api_host: str) -> None:
        self._api_host = api_host
        self._pods: dict[ObjectKey, PodName] = {}
        self._services: dict[ObjectKey, JSONObject] = {}

    def pod_changed(self, key: ObjectKey, pod: JSONObject | None) -> bool:
        """Note a pod; return whether names may have changed."""
        new = PodName.of(pod) if pod is not None else None
        old = self._pods.pop(key, None)
        if new is not None:
            self._pods[key] = new
        return old != new

    def service_changed(self, key: ObjectKey, service: JSONObject | None) -> None:
        """Note a Service."""
        self._services.pop(key, None)
        if service is not None:
            self._services[key] = service

    def lines(self, namespace: str) -> list[str]:
        """Return the lines of all Services, as pods of a namespace see them."""
        pods = sorted(self._pods.items(), key=_by_name)
        by_namespace: dict[str, list[PodName]] = {}
        for key, pod in pods:
            by_namespace.setdefault(key.namespace, []).append(pod)
        return [
            line
            for key, service in sorted(self._services.items(), key=_by_name)
            for line in service_lines(
                service, by_namespace.get(key.namespace, ()), near=key.namespace == namespace
            )
        ]

    def write(self, path: Path, pod: JSONObject, address: str, lines: Sequence[str]) -> None:
        """Write a pod's file, in place: it is mounted, so that another file would not be seen."""
        data = hosts_text(pod, address, self._api_host, lines).encode()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            held = os.read(descriptor, os.fstat(descriptor).st_size)
            if held.rstrip(b"\n") != data.rstrip(b"\n"):
                # One write, never shorter than before: a reader finds the old text or the new one.
                os.pwrite(descriptor, data.ljust(len(held), b"\n"), 0)
        finally:
            os.close(descriptor)
