"""Secrets of other people: pki does not hold what is in them, and a CA among them is read when it changes."""

from __future__ import annotations

import base64

from operatorkit.testing import eventually


def requests(running, verb: str, resource: str, name: str | None = None) -> int:
    return sum(
        (call.verb, call.resource) == (verb, resource) and name in {None, call.name} for call in running.cluster.calls
    )


async def test_the_data_of_secrets_of_other_owners_is_not_in_memory(team, pki):
    await team.ca()
    secret = b"the password of another team"
    await team.secret("foreign", {"password": secret})
    async with pki() as running:
        await team.certificate()
        await team.certificate("second", secretName="foreign")
        await team.ready()
        await team.condition("Certificate", "second", status="False", reason="SecretConflict")
        resource = team.kinds["Secret"]
        held = {one["metadata"]["name"]: one for one in running.engine.caches.all(resource, team.namespace, None)}
    assert base64.b64encode(secret).decode() not in str(held)
    assert ("data" in held["web-tls"], "data" in held["foreign"], "data" in held["ca"]) == (True, False, False)


async def test_a_ca_is_read_once_for_all_its_certificates_and_a_label_on_it_concerns_none(team, pki):
    await team.ca()
    async with pki() as running:
        for number in range(20):
            await team.certificate(f"c{number}")
        for number in range(20):
            await team.ready(f"c{number}")
        await running.settled()
        assert requests(running, "get", "secrets", "ca") == 1
        (certificates,) = [one for one in running.engine.controllers if one.resource.kind == "Certificate"]
        runs, written = certificates.queue.handed_out, running.writes()
        await team.change("Secret", "ca", metadata={"labels": {"team": "a"}})
        await eventually(lambda: requests(running, "get", "secrets", "ca") == 2, message="the CA to be read again")
        await running.settled()
        assert certificates.queue.handed_out == runs
        assert running.writes() == written


async def test_a_ca_that_is_replaced_reissues_what_it_signed_at_once(team, pki):
    await team.ca()
    async with pki():
        await team.certificate()
        before = await team.ready()
        old = (await team.get("Issuer", "ca"))["status"]["fingerprint"]
        encoded = {key: base64.b64encode(value).decode() for key, value in (await team.new_ca()).items()}
        await team.change("Secret", "ca", data=encoded)

        async def reissued() -> bool:
            return await team.leaf() != before

        await eventually(reissued)
        assert (await team.get("Issuer", "ca"))["status"]["fingerprint"] != old


async def test_a_certificate_whose_ca_could_not_be_read_for_a_moment_is_looked_at_again(team, pki):
    data = await team.ca()
    async with pki():
        bad = {"tls.key": base64.b64encode(b"not a key").decode()}
        await team.change("Secret", "ca", data=bad)
        await team.condition("Issuer", "ca", status="False")
        await team.certificate()
        await team.condition("Certificate", "web", status="False", reason="IssuerNotReady")
        await team.change("Secret", "ca", data={"tls.key": base64.b64encode(data["tls.key"]).decode()})
        await team.ready()
