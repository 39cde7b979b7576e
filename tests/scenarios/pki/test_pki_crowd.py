"""Many certificates, odd objects, and quiet."""

from __future__ import annotations

import asyncio
from collections import Counter

from cryptography import x509

from operatorkit.testing import eventually, idle
from operators.pki import Certificate

CERTIFICATES = Certificate.api_resource()


async def test_two_hundred_certificates_at_once_need_three_writes_each(team, pki):
    ca = x509.load_pem_x509_certificate((await team.ca())["tls.crt"])
    async with pki() as running:
        await running.settled()
        before = running.writes()
        await asyncio.gather(*(team.certificate(f"c{n}", dnsNames=[f"c{n}.{team.namespace}.svc"]) for n in range(200)))
        await eventually(lambda: all_ready(team, 200), timeout=60)
        await running.settled()
        made = running.writes() - before
        assert made == {("patch", "secrets"): 200, ("patch", "certificates/status"): 200, ("create", "events"): 200}
        per_object = Counter(
            call.name for call in running.cluster.calls if call.resource == "secrets" and call.is_write
        )
        assert set(per_object.values()) == {1}
        await idle(running.cluster)
    serials = set()
    for number in range(200):
        leaf = await team.leaf(f"c{number}-tls")
        leaf.verify_directly_issued_by(ca)
        serials.add(leaf.serial_number)
    assert len(serials) == 200


async def test_an_operator_with_a_denied_request_is_idle_too(team, pki):
    await team.ca()
    async with pki() as running:
        await team.pod()
        await team.certificate(dnsNames=["app2"])
        await team.event("Pod", "web", "DeniedByPolicy")
        await running.settled()
        await idle(running.cluster)


async def test_objects_with_unknown_fields_and_numbers_for_quantities_disturb_nobody(team, pki):
    await team.ca()
    async with pki():
        container = {"name": "web", "image": "web", "resources": {"requests": {"cpu": 1}}}
        volume = {"name": "tls", "secret": {"secretName": "web-tls"}}
        await team.create("Pod", "odd", spec={"containers": [container], "volumes": [volume]})
        await team.certificate(dnsNames=["app2"])
        await team.event("Pod", "odd", "DeniedByPolicy")


async def all_ready(team, count: int) -> bool:
    found = await team.cluster.list(CERTIFICATES, namespace=team.namespace)
    ready = [
        item
        for item in found.items
        if any(c["type"] == "Ready" and c["status"] == "True" for c in item.get("status", {}).get("conditions", []))
    ]
    return len(ready) == count
