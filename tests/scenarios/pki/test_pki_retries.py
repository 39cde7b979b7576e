"""What may pass is tried again, at times that are told; what a CA forbids is not written."""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from operatorkit.clock import parse_time
from operatorkit.errors import Forbidden
from operatorkit.testing import eventually
from operatorkit.testing.running import running
from operators.pki import Certificate, app
from operators.pki.keys import generate_key, write_key


class NoQuota:
    """A `ClusterAPI` on which no Secret can be written while `refuses`; it counts the attempts."""

    def __init__(self, api: Any) -> None:
        self._api = api
        self.rejects = True
        self.attempts = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    async def patch(self, resource: Any, name: str, body: Any, **options: Any) -> Any:
        if resource.plural == "secrets":
            self.attempts += 1
            if self.rejects:
                raise Forbidden(f'secrets "{name}" is forbidden: exceeded quota: team, requested: secrets=1')
        return await self._api.patch(resource, name, body, **options)


@pytest.fixture
def pki_without_quota(team):
    @asynccontextmanager
    async def run():
        api = NoQuota(team.cluster)
        async with running(app, api, clock=team.clock, namespace=team.namespace) as started:
            yield started, api

    return run


async def test_a_write_that_fails_is_repeated_at_the_time_that_is_reported(team, pki_without_quota, fake_clock):
    await team.ca()
    async with pki_without_quota() as (running, api):
        await team.pod()
        await team.certificate()
        event = await team.event("Pod", "web", "RetryScheduled")
        assert "exceeded quota: team" in event["message"]
        status = (await eventually(lambda: has_failed(team, 1)))["status"]
        first = parse_time(status["nextAttemptTime"])
        assert status["nextAttemptTime"] in event["message"]
        assert timedelta(seconds=5) <= first - fake_clock.now() <= timedelta(seconds=7)
        await running.settled()
        assert api.attempts == 1
        await fake_clock.advance(first - fake_clock.now())
        status = (await eventually(lambda: has_failed(team, 2)))["status"]
        second = parse_time(status["nextAttemptTime"])
        assert timedelta(seconds=10) <= second - fake_clock.now() <= timedelta(seconds=13)
        await running.settled()
        assert api.attempts == 2
        assert (await team.event("Pod", "web", "RetryScheduled"))["count"] == 2
        api.rejects = False
        await fake_clock.advance(second - fake_clock.now())
        await team.ready()
        await team.event("Pod", "web", "CertificateIssued")
        status = (await team.get("Certificate", "web"))["status"]
        assert status.keys().isdisjoint({"failedAttempts", "nextAttemptTime", "lastFailureTime", "failedGeneration"})


async def test_a_pod_that_waits_for_two_secrets_is_notified_of_each_and_of_each_end(
    team, pki_without_quota, fake_clock
):
    await team.ca()
    secrets = ("web-tls", "mesh-tls")
    volumes = [{"name": name, "secret": {"secretName": name}} for name in secrets]
    async with pki_without_quota() as (running, api):
        await team.create("Pod", "web", spec={"volumes": volumes, "containers": [{"name": "web", "image": "web"}]})
        for name in ("web", "mesh"):
            await team.certificate(name)
        await eventually(lambda: reports_of(team, "RetryScheduled", secrets))
        await running.settled()
        api.rejects = False
        await fake_clock.advance(timedelta(seconds=8))
        for name in ("web", "mesh"):
            await team.ready(name)
        await eventually(lambda: reports_of(team, "CertificateIssued", secrets))
        assert {event["count"] for event in await team.events("Pod", "web")} == {1}


async def reports_of(team, reason: str, secrets: tuple[str, ...]) -> bool:
    """Tell whether the Pod has one Event of this reason for each of its Secrets."""
    messages = [event["message"] for event in await team.events("Pod", "web", reason)]
    return len(messages) == len(secrets) and all(any(f"Secret {name}" in text for text in messages) for name in secrets)


async def test_a_corrected_spec_does_not_wait_for_the_next_attempt(team, pki_without_quota, fake_clock):
    await team.ca()
    async with pki_without_quota() as (running, api):
        await team.certificate()
        await eventually(lambda: has_failed(team, 1))
        await running.settled()
        api.rejects = False
        await team.change("Certificate", "web", spec={"duration": "48h"})
        await team.ready()


async def test_a_restart_does_not_shorten_the_wait(team, pki_without_quota, fake_clock):
    await team.ca()
    async with pki_without_quota() as (running, _):
        await team.certificate()
        await eventually(lambda: has_failed(team, 1))
        await running.settled()
    async with pki_without_quota() as (running, api):
        await running.settled()
        assert api.attempts == 0
        await fake_clock.advance(timedelta(seconds=8))
        await eventually(lambda: api.attempts == 1)


async def test_what_the_ca_is_not_allowed_to_sign_is_not_written(team, pki, fake_clock):
    await team.policy()
    await team.secret("ca", await constrained_ca(fake_clock.now()))
    await team.create("Issuer", "ca", spec={"ca": {"secretName": "ca"}})
    async with pki():
        await team.pod()
        await team.certificate(dnsNames=[f"web.{team.namespace}.svc"])
        event = await team.event("Pod", "web", "SigningFailed")
        assert event["message"].startswith("Check Issuer ca")
        assert await team.find("Secret", "web-tls") is None


async def test_a_secret_that_was_made_immutable_is_asked_to_be_deleted_when_it_is_due(team, pki, fake_clock):
    await team.ca()
    async with pki() as running:
        await team.pod()
        await team.certificate(duration="24h")
        first = await team.ready()
        await team.change("Secret", "web-tls", immutable=True)
        await running.settled()
        await team.condition("Certificate", "web", status="True")
        await fake_clock.advance(timedelta(hours=17))
        event = await team.event("Pod", "web", "RetryScheduled")
        assert event["message"].startswith("Delete Secret web-tls, which cannot be changed, so that it is recreated: ")
        assert "field is immutable when `immutable` is set" in event["message"]
        assert await team.leaf() == first
        await team.condition("Certificate", "web", status="False")
        await team.delete("Secret", "web-tls")
        await running.settled()
        await fake_clock.advance(timedelta(minutes=6))  # the longest pause between attempts is five and a half
        assert await team.ready() != first
        await team.event("Pod", "web", "CertificateIssued")


async def test_a_secret_of_another_type_under_the_label_of_the_certificate_is_asked_to_be_deleted(team, pki):
    await team.ca()
    made = await team.certificate()
    await team.secret("web-tls", {"note": b"mine"})
    await team.change("Secret", "web-tls", metadata={"labels": {"operatorkit.dev/owner-uid": made["metadata"]["uid"]}})
    async with pki():
        ready = await team.condition("Certificate", "web", status="False", reason="RetryScheduled")
        assert ready["message"].startswith("Delete Secret web-tls, which cannot be changed, so that it is recreated: ")
        assert "type: Invalid value" in ready["message"]
        assert await team.data("web-tls") == {"note": b"mine"}


class Overtaken(NoQuota):
    """A `ClusterAPI` on which the Certificate is deleted at the moment when its Secret is written."""

    async def patch(self, resource: Any, name: str, body: Any, **options: Any) -> Any:
        if resource.plural == "secrets" and not self.attempts:
            self.attempts += 1
            await self._api.delete(Certificate.api_resource(), "web", namespace=options["namespace"])
        return await self._api.patch(resource, name, body, **options)


async def test_a_certificate_that_is_deleted_while_it_is_made_leaves_nothing_behind(team):
    await team.ca()
    api = Overtaken(team.cluster)
    async with running(app, api, clock=team.clock, namespace=team.namespace) as started:
        await team.certificate()
        await eventually(lambda: api.attempts == 1)
        await started.settled()
        assert await team.find("Certificate", "web") is None
        await eventually(lambda: is_gone(team, "web-tls"), timeout=180)  # the garbage collector's pace
        await started.settled()
        assert await team.find("Secret", "web-tls") is None


async def is_gone(team, secret: str) -> bool:
    return await team.find("Secret", secret) is None


async def has_failed(team, attempts: int):
    certificate = await team.get("Certificate", "web")
    return certificate if certificate.get("status", {}).get("failedAttempts") == attempts else None


async def constrained_ca(now) -> dict[str, bytes]:
    """Return a CA that may sign names below allowed.example only."""
    key = generate_key("ECDSA", 256)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "constrained")])
    signs = {"key_cert_sign", "crl_sign"}
    usage = x509.KeyUsage(**{name: name in signs for name in inspect.signature(x509.KeyUsage).parameters})
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=100))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.NameConstraints([x509.DNSName("allowed.example")], None), critical=True)
        .sign(key, hashes.SHA256())
    )
    from cryptography.hazmat.primitives.serialization import Encoding

    return {"tls.crt": certificate.public_bytes(Encoding.PEM), "tls.key": write_key(key)}
