"""Many certificates, odd objects, and quiet."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager

from cryptography import x509

from operatorkit.cluster import PatchType
from operatorkit.testing import eventually, idle
from operatorkit.testing.running import CRDS, install_crds
from operators.pki import Certificate

CERTIFICATES = Certificate.api_resource()


async def test_two_hundred_certificates_at_once_need_three_writes_each(team, pki):
    ca = x509.load_pem_x509_certificate((await team.ca())["tls.crt"])
    async with pki() as running:
        await running.settled()
        before = running.writes()
        (certificates,) = [one for one in running.engine.controllers if one.resource.kind == "Certificate"]
        runs = certificates.queue.handed_out
        await asyncio.gather(*(team.certificate(f"c{n}", dnsNames=[f"c{n}.{team.namespace}.svc"]) for n in range(200)))
        await eventually(lambda: all_ready(team, 200), timeout=120)
        await running.settled()
        made = running.writes() - before
        events = {call.name for call in running.cluster.calls if call.verb == "create" and call.resource == "events"}
        assert len(events) == 200  # one that is not answered within a second is sent again, under the same name
        written = {what: count for what, count in made.items() if what[1] != "events"}
        assert written == {("patch", "secrets"): 200, ("patch", "certificates/status"): 200}
        assert certificates.queue.handed_out - runs == 200  # each is looked at once: its own Secret brings nothing new
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


async def test_objects_with_unknown_fields_and_numbers_for_quantities_disturb_nothing(team, pki):
    await team.ca()
    async with pki():
        container = {"name": "web", "image": "web", "resources": {"requests": {"cpu": 1}}}
        volume = {"name": "tls", "secret": {"secretName": "web-tls"}}
        await team.create("Pod", "odd", spec={"containers": [container], "volumes": [volume]})
        await team.certificate(dnsNames=["app2"])
        await team.event("Pod", "odd", "DeniedByPolicy")


async def test_a_certificate_that_cannot_be_read_is_reported_and_disturbs_no_other(team, pki):
    await team.ca()
    async with loose_schema(team):
        await team.create("Certificate", "odd", spec={"secretName": {"not": "a name"}, "issuerRef": {"name": "ca"}})
        async with pki(allow_shrink=True) as running:
            await team.certificate()
            await team.ready()
            event = await team.event("Certificate", "odd", "InvalidObject")
            assert "secretName" in event["message"]
            await running.settled()
            await idle(running.cluster)
        await team.delete("Certificate", "odd")


@asynccontextmanager
async def loose_schema(team):
    """Let the server store what the schema of Certificates forbids, as one of another version may have."""
    name = Certificate.crd()["metadata"]["name"]
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    loose = Certificate.crd()
    loose["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = anything
    await team.cluster.patch(
        CRDS, name, loose, patch_type=PatchType.APPLY, field_manager="operatorkit-testing", force=True
    )
    try:
        await eventually(lambda: takes_anything(team))
        yield
    finally:
        await install_crds(team.cluster, [Certificate], shrinking="always")


async def takes_anything(team) -> bool:
    odd = {"apiVersion": CERTIFICATES.api_version, "kind": "Certificate", "metadata": {"name": "try"}, "spec": 5}
    await team.cluster.create(CERTIFICATES, odd, namespace=team.namespace, dry_run=True)
    return True


async def all_ready(team, count: int) -> bool:
    found = await team.cluster.list(CERTIFICATES, namespace=team.namespace)
    ready = [
        item
        for item in found.items
        if any(c["type"] == "Ready" and c["status"] == "True" for c in item.get("status", {}).get("conditions", []))
    ]
    return len(ready) == count
