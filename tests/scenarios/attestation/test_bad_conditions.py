"""What admission does, and what users read, when a part that it depends on is broken; it never admits for that."""

from __future__ import annotations

import asyncio
import io
import json
import re
import time
from contextlib import suppress

import aiohttp
import pytest
from aiohttp import web
from registries import serving
from scenarios.attestation.servers import attest_serve
from scenarios.attestation.team import NOTE, Team, image, pod

from operatorkit.cluster import PatchType
from operatorkit.errors import AlreadyExists, ClusterError, NotFound
from operatorkit.kinds import NAMESPACES, PODS
from operatorkit.testing import eventually
from operatorkit.webhooks.manifests import CONFIGURATIONS, ServiceReference, configurations
from operators.attestation import AttestationAuthority, GrafeasServer, ImagePolicy, app
from operators.attestation.images import parse_resource_uri
from operators.attestation.signing import attest, generate

MEBIBYTE = 1024 * 1024


def answering(body: bytes, status: int = 200):
    async def answer(request):
        del request
        return web.Response(body=body, status=status, content_type="application/json")

    return answer


async def never(request):
    await asyncio.Event().wait()


async def hanging_up(request):
    request.transport.abort()
    return web.Response()


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (answering(b'{"occurrences": ["' + b"x" * 50 * MEBIBYTE + b'"]}'), "answered more than 16777216 bytes"),
        (answering(b"<html>"), "Expecting value"),
        (answering(b"[]"), "did not respond with a list of occurrences"),
        (answering(b"{}", status=500), "answered HTTP 500"),
        (never, "it did not answer within 3 s"),
        (hanging_up, "the metadata server did not respond"),
    ],
    ids=["50 MB", "not JSON", "no list", "500", "slow", "hangs up"],
)
async def test_a_metadata_server_that_misbehaves_admits_nothing_and_is_named(team, handler, words):
    good = image()
    await team.attest(good)
    async with serving(handler) as host:
        change = {"spec": {"url": f"http://{host}"}}
        await team.cluster.patch(
            GrafeasServer.api_resource(), team.cluster.namespace, change, patch_type=PatchType.MERGE
        )

        async def denied_for_that() -> bool:
            return words in await team.answer(pod(good))

        await eventually(denied_for_that, message=words)
        assert words in await team.denied(pod(good))


async def test_a_key_that_cannot_be_read_is_reported_and_attests_nothing(team):
    spec = {"noteReference": NOTE, "server": team.cluster.namespace, "keys": [{"id": "torn", "publicKey": "-----"}]}
    await team.make(AttestationAuthority, "torn", spec)
    await team.make(ImagePolicy, "torn", {"require": {"allOf": [{"kind": "AttestationAuthority", "name": "torn"}]}})
    await team.ready(AttestationAuthority, "torn")
    await team.ready(ImagePolicy, "torn")
    good = image()
    await team.attest(good)
    namespace = team.cluster.namespace
    found = await team.cluster.get(AttestationAuthority.api_resource(), "torn", namespace=namespace)
    (ready,) = (one for one in found["status"]["conditions"] if one["type"] == "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "KeyUnreadable")
    assert "torn" in ready["message"]
    message = await team.denied(pod(good))
    assert f"AttestationAuthority {namespace}/torn has not attested it" in message


async def test_a_signature_from_the_future_counts_once_its_time_has_come(team):
    """The clock of the signer, or of the operator, is wrong; five minutes of difference are accepted."""
    pair = generate("JWT", "ED25519", "ci")
    keys = [{"id": "ci", "type": "JWT", "publicKey": pair.public.decode()}]
    spec = {"noteReference": NOTE, "server": team.cluster.namespace, "keys": keys}
    change = {"spec": spec}
    await team.cluster.patch(
        AttestationAuthority.api_resource(), "qa", change, patch_type=PatchType.MERGE, namespace=team.cluster.namespace
    )
    await team.ready(AttestationAuthority, "qa")
    early, late = image("early"), image("late")
    for reference, seconds in ((early, 30), (late, 3600)):
        now = int(time.time()) + seconds
        occurrence = attest(parse_resource_uri(reference), NOTE, pair.private, "JWT", None, now=now)
        await team.post("projects/team/occurrences", occurrence)
    assert "the JWT is not valid yet" in await team.denied(pod(late))
    await team.create(pod(early))


@pytest.fixture
async def full_server(tmp_path, stack):
    """A metadata server whose database file may have at most 512 KiB, as on a full disk."""
    limited = ("bash", "-c", 'ulimit -f 512; exec "$@"', "limited")
    server = await stack.enter_async_context(attest_serve(tmp_path, "full", limited))
    return server.url


async def test_a_full_database_rejects_writes_and_still_answers(team, full_server):
    """What was acknowledged counts, and what was not does not."""
    full = Team(team.cluster, full_server, team.session)
    full.key = team.key
    await full.post("projects/team/notes?noteId=qa", {"attestation": {}})
    good, filling = image(), image()
    await full.attest(good)
    body = {
        "resourceUri": f"https://{filling}",
        "noteName": NOTE,
        "attestation": {"serializedPayload": "eHh4" * 4096},
    }
    url = f"{full_server}/v1/projects/team/occurrences"

    async def rejected() -> bool:
        async with team.session.post(url, json=body) as answer:
            content = await answer.json()
            if answer.status == 200:
                return False
            assert (answer.status, content["error"]["status"]) == (503, "UNAVAILABLE"), content
            assert re.search("the database cannot be used now: .*(full|I/O)", content["message"]), content
            return True

    await eventually(rejected, timeout=60, message="the database is full")
    async with team.session.get(f"{full_server}/v1/{NOTE}/occurrences?pageSize=1") as answer:
        assert answer.status == 200, await answer.text()
    change = {"spec": {"url": full_server}}
    await team.cluster.patch(GrafeasServer.api_resource(), team.cluster.namespace, change, patch_type=PatchType.MERGE)
    bad = image()

    async def admitted() -> bool:
        return await team.answer(pod(good)) == ""

    await eventually(admitted, message="what was attested before is admitted")
    assert "has no occurrence for it" in await team.denied(pod(bad))


async def test_a_payload_of_50_megabytes_is_rejected_with_the_limit(team):
    url = f"{team.url}/v1/projects/team/occurrences"
    body = json.dumps({"attestation": {"serializedPayload": "x" * 50 * MEBIBYTE}}).encode()

    async def rejected() -> bool:
        try:
            async with team.session.post(url, data=io.BytesIO(body)) as answer:
                status, text = answer.status, await answer.text()
        except aiohttp.ClientConnectionError:  # the server closed the connection before all was sent
            return False
        assert status == 413, text
        assert "a body has at most 33554432 bytes: send smaller batches" in text
        return True

    await eventually(rejected, message="the answer to a large body")
    good = image()
    await team.attest(good)
    await team.create(pod(good))


async def test_the_pods_of_the_operator_start_though_no_webhook_answers(cluster):
    """A policy for all namespaces matches them too; the webhooks leave out the operator's own namespace."""
    own, other = cluster.namespace, f"{cluster.namespace}-other"
    service = ServiceReference.of("attestation", namespace=own)  # without replicas: there is no such Service
    made = configurations(app.name, app.webhooks, at=service, ca_pem=None)
    with suppress(AlreadyExists):
        await cluster.create(NAMESPACES, {"metadata": {"name": other}})
    try:
        for one in made:
            verb = "mutate" if one["kind"].startswith("Mutating") else "validate"
            pods = [hook for hook in one["webhooks"] if hook["rules"][0]["resources"][0] == "pods"]
            await cluster.create(CONFIGURATIONS[verb], {**one, "webhooks": pods})
        team = Team(cluster, "", None)

        async def not_answered() -> bool:
            try:
                await cluster.create(PODS, pod(image()), namespace=other, dry_run=True)
            except ClusterError as error:
                return "failed calling webhook" in error.message
            return False

        await eventually(not_answered, message="Pods of other namespaces are denied")
        await team.create(pod(image()))
    finally:
        for one in made:
            verb = "mutate" if one["kind"].startswith("Mutating") else "validate"
            with suppress(NotFound):
                await cluster.delete(CONFIGURATIONS[verb], one["metadata"]["name"])
        await cluster.delete(NAMESPACES, other)
