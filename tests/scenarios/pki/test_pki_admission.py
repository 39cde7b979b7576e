"""What a team is told at the door: kubectl apply fails, with every field that is wrong, and nothing is stored."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest

from operatorkit._runtime.admission import AtUrl
from operatorkit.errors import Invalid
from operatorkit.testing import eventually

SPEC = {"secretName": "web-tls", "issuerRef": {"name": "ca"}}


@pytest.fixture
def door(pki, team):
    """Run pki with its webhooks, of which API servers hear a moment later: of each of the two, and of their end."""

    async def tried(**spec):
        body = {**certificate("probe"), "spec": {**SPEC, **spec}}
        options = {"namespace": team.namespace, "dry_run": True}
        return (await team.cluster.create(team.kinds["Certificate"], body, **options))["spec"]

    async def validated():
        try:
            await tried(dnsNames=["a_b"])
        except Invalid:
            return True
        return False

    async def mutated():
        return "dnsNames" in await tried(commonName="app1")

    async def both():
        return await validated() and await mutated()

    async def neither():
        return not await validated() and not await mutated()

    @asynccontextmanager
    async def run():
        async with pki(webhooks=AtUrl()) as running:
            await eventually(both, message="the API server asks pki")
            yield running
        await eventually(neither, message="the API server asks nobody")

    return run


def certificate(name="web", **spec):
    return {
        "apiVersion": "pki.operatorkit.dev/v1alpha1",
        "kind": "Certificate",
        "metadata": {"name": name},
        "spec": {**SPEC, **({"dnsNames": ["app1"]} | spec)},
    }


async def test_three_errors_are_reported_in_one_answer_and_nothing_is_stored(door, team):
    async with door():
        with pytest.raises(Invalid) as rejected:
            await team.certificate(dnsNames=["app_1", "10.0.0.1"], duration="2h", renewBefore="3h")
        assert [cause.field for cause in rejected.value.causes] == [
            "spec.dnsNames[0]",
            "spec.dnsNames[1]",
            "spec.renewBefore",
        ]
        assert rejected.value.message.startswith(
            'admission webhook "validate.certificates.pki.operatorkit.dev" denied the request: '
            'Certificate.pki.operatorkit.dev "web" is invalid: [spec.dnsNames[0]: Invalid value: "app_1": its label'
        )
        assert await team.find("Certificate", "web") is None


async def test_what_was_left_out_is_in_what_is_stored(door, team):
    async with door():
        made = await team.cluster.create(
            team.kinds["Certificate"],
            {**certificate(), "spec": {**SPEC, "commonName": "app1"}},
            namespace=team.namespace,
        )
        assert made["spec"]["duration"] == "2160h"
        assert made["spec"]["dnsNames"] == ["app1"]


async def test_a_legal_but_unwise_certificate_is_admitted_with_a_warning(door, team, http):
    async with door():
        answer = await http.post(http.path("pki.operatorkit.dev/v1alpha1/certificates"), certificate(duration="20000h"))
        assert answer.status == 201, answer.text
        assert len(answer.warnings) == 1
        assert "spec.duration: some clients reject" in answer.warnings[0]


async def test_an_old_error_does_not_block_an_unrelated_change(door, team):
    await team.certificate(dnsNames=["app_1"])
    async with door():
        await team.change("Certificate", "web", spec={"duration": "48h"})
        with pytest.raises(Invalid) as rejected:
            await team.change("Certificate", "web", spec={"renewBefore": "72h"})
        assert [cause.field for cause in rejected.value.causes] == ["spec.renewBefore"]
        await team.delete("Certificate", "web")
