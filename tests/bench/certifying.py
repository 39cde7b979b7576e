"""The benchmark `pki`: what a certificate costs when many are requested at once, and what one tenant costs another."""

from __future__ import annotations

import asyncio
import base64
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from bench.arena import Arena, arena, until
from bench.control import Process
from bench.report import Row, row
from operatorkit._runtime import install_definitions
from operatorkit.cluster import PatchType
from operatorkit.names import ApiResource
from operators.pki import Certificate, CertificatePolicy, Issuer, app
from operators.pki.issue import SelfSigner, issue, new_serial
from operators.pki.keys import generate_key
from operators.pki.request import Request

__all__ = ["certify"]

_NUMBERS = (100, 500, 1000)
_ROUNDS = 3
_WARMING = 20
_CROWD = 2000
_DENIED = 1000
_AT_ONCE = 8
_GRACE_SECONDS = 600
_CERTIFICATES = Certificate.api_resource()
_POLICIES = CertificatePolicy.api_resource()
_SECRETS = ApiResource("", "v1", "Secret", "secrets", namespaced=True)
Figures = dict[str, list[float]]


async def certify() -> list[Row]:
    """Measure CPU and requests for a certificate, the wait of another tenant, and denials that are taken back."""
    return [*await _costs(), await _neighbours(), await _denials()]


async def _costs() -> list[Row]:
    cpu, wall, requests = (cast("Figures", defaultdict(list)) for _ in range(3))
    for number in range(_ROUNDS):
        async with _place() as place:
            await place.issue(await place.tenant("warming"), _WARMING)
            for count in _NUMBERS[number:] + _NUMBERS[:number]:
                used, took, sent = await place.issue(await place.tenant(f"team-{count}"), count)
                for figures, value in ((cpu, used * 1e3), (wall, took * 1e3), (requests, sent)):
                    figures[str(count)].append(value / count)
    names = {"ours": "1000", "100 at once": "100", "500 at once": "500"}
    return [
        row(
            "1,000 certificates at once: CPU",
            "ms per certificate",
            {name: cpu[count] for name, count in names.items()},
            aim={"100 at once": 1.3},
            wall={name: wall[count] for name, count in names.items()},
        ),
        row(
            "1,000 certificates at once: requests",
            "per certificate",
            {name: requests[count] for name, count in names.items()},
        ),
    ]


async def _neighbours() -> Row:
    """One tenant requests 2,000 certificates, then another one."""
    async with _place() as place:
        await place.issue(await place.tenant("warming"), _WARMING)
        crowd, alone = await place.tenant("crowd"), await place.tenant("alone")
        began = time.perf_counter()
        waiting = asyncio.create_task(place.wait(crowd, _CROWD))
        await place.create(crowd, _CROWD // 2)
        creating = asyncio.create_task(place.create(crowd, _CROWD // 2, first=_CROWD // 2))
        asked = time.perf_counter()
        await place.create(alone, 1)
        await place.wait(alone, 1)
        one = time.perf_counter() - asked
        await creating
        await waiting
        everybody = time.perf_counter() - began
    return row(
        "the certificate of another team while one requests 2,000: wall time",
        "s",
        {"ours": [one], "the 2,000": [everybody]},
        aim={"the 2,000": 0.1},
    )


async def _denials() -> Row:
    """1,000 requests are denied, and then a policy allows them."""
    async with _place() as place:
        await place.issue(await place.tenant("warming"), _WARMING)
        namespace = await place.tenant("denied", allowed="none.example.com")
        used, took, _ = await place.measured(namespace, lambda: place.create_and_wait(namespace, _DENIED, "False"))
        pages = await place.operator.ask("pages")
        allowing, also, _ = await place.measured(namespace, lambda: place.allow(namespace, _DENIED))
        pages = await place.operator.ask("pages") - pages
        print(
            f"  denied: {took:.1f} s, CPU {used:.1f} s; allowed: {also:.1f} s, CPU {allowing:.1f} s, {pages} list pages"
        )
        normal, quick, _ = await place.issue(await place.tenant("allowed"), _DENIED)
    return row(
        "1,000 certificates that were denied before: CPU of issuing them",
        "ms per certificate",
        {"ours": [allowing / _DENIED * 1e3], "never denied": [normal / _DENIED * 1e3]},
        aim={"never denied": 2.0},
        wall={"ours": [also / _DENIED * 1e3], "never denied": [quick / _DENIED * 1e3]},
    )


@dataclass(frozen=True, slots=True)
class _Place:
    """A server, pki at work for it, and its users."""

    arena: Arena
    operator: Process

    async def tenant(self, name: str, *, allowed: str = "*.{{namespace}}.svc") -> str:
        """Make a namespace with a CA and a policy."""
        api, namespace = self.arena.api, await self.arena.namespace(name)
        data = {key: base64.b64encode(value).decode() for key, value in _ca(name).items()}
        await api.create(
            _SECRETS, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "ca"}, "data": data}, namespace=name
        )
        for kind, body, where in (
            (Issuer, {"metadata": {"name": "ca"}, "spec": {"ca": {"secretName": "ca"}}}, namespace),
            (CertificatePolicy, {"metadata": {"name": name}, "spec": _policy(name, allowed)}, None),
        ):
            resource = kind.api_resource()
            obj = {"apiVersion": resource.api_version, "kind": resource.kind, **body}
            await api.create(resource, obj, namespace=where)
        await self.arena.quiet(namespace)
        return namespace

    async def create(self, namespace: str, count: int, *, first: int = 0) -> None:
        """Request certificates, a few at once."""
        numbers = iter(range(first, first + count))

        async def some() -> None:
            for number in numbers:
                name = f"c{number:05}"
                spec = {
                    "secretName": f"{name}-tls",
                    "issuerRef": {"name": "ca"},
                    "dnsNames": [f"{name}.{namespace}.svc"],
                }
                obj = {"apiVersion": _CERTIFICATES.api_version, "kind": "Certificate", "metadata": {"name": name}}
                await self.arena.api.create(_CERTIFICATES, obj | {"spec": spec}, namespace=namespace)

        await asyncio.gather(*(some() for _ in range(_AT_ONCE)))

    async def wait(self, namespace: str, count: int, status: str = "True") -> None:
        """Return when so many Certificates have the condition Ready with this status."""
        found = await self.arena.api.list(_CERTIFICATES, namespace=namespace)
        done = {one["metadata"]["name"] for one in found.items if _ready(one) == status}
        events = self.arena.api.watch(_CERTIFICATES, namespace=namespace, resource_version=found.resource_version)
        async with asyncio.timeout(_GRACE_SECONDS), aclosing(cast("Any", events)):
            while len(done) < count:
                event = await anext(events)
                if _ready(event.object) == status:
                    done.add(event.object["metadata"]["name"])

    async def create_and_wait(self, namespace: str, count: int, status: str) -> None:
        """Request certificates and wait until all have this status."""
        await asyncio.gather(self.create(namespace, count), self.wait(namespace, count, status))

    async def allow(self, namespace: str, count: int) -> None:
        """Change the policy and wait until all are ready."""
        spec = _policy(namespace, "*.{{namespace}}.svc")
        await self.arena.api.patch(_POLICIES, namespace, {"spec": spec}, patch_type=PatchType.MERGE)
        await self.wait(namespace, count)

    async def issue(self, namespace: str, count: int) -> tuple[float, float, float]:
        """Request certificates; return CPU seconds, wall seconds, and requests until all is quiet."""
        return await self.measured(namespace, lambda: self.create_and_wait(namespace, count, "True"))

    async def measured(self, namespace: str, work: Any) -> tuple[float, float, float]:
        """Do something; return CPU seconds, wall seconds, and requests until all is quiet."""
        sent = await self.arena.server.ask("requests", namespace=namespace)
        cpu, began = await self.operator.ask("cpu"), time.perf_counter()
        await work()
        took = time.perf_counter() - began
        await self.arena.quiet(namespace)
        used = await self.operator.ask("cpu") - cpu
        return used, took, await self.arena.server.ask("requests", namespace=namespace) - sent


@asynccontextmanager
async def _place() -> AsyncIterator[_Place]:
    async with arena() as place:
        await install_definitions(app.kinds(), place.api)
        async with Process("bench.certifier", place.url, place.token) as operator:
            await until(lambda: operator.ask("ready"), "pki to start")
            yield _Place(place, operator)


def _policy(namespace: str, allowed: str) -> dict[str, Any]:
    return {"namespaces": [namespace], "services": [], "allow": {"dnsNames": [allowed]}}


def _ready(certificate: dict[str, Any]) -> str | None:
    conditions = (certificate.get("status") or {}).get("conditions") or ()
    return next((one["status"] for one in conditions if one["type"] == "Ready"), None)


def _ca(name: str) -> dict[str, bytes]:
    request = Request(
        common_name=name,
        dns_names=(),
        ip_addresses=(),
        uris=(),
        email_addresses=(),
        is_ca=True,
        usages=(),
        duration=timedelta(days=365),
        renew_before=None,
        algorithm="ECDSA",
        size=256,
        rotate_key=True,
    )
    key = generate_key("ECDSA", 256)
    data: dict[str, bytes] = issue(
        request, SelfSigner(), key, serial=new_serial(), now=datetime.now(UTC)
    ).material.data()
    return data
