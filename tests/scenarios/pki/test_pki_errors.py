"""What is wrong is said where its owner looks, once, and taken back when it is mended."""

from __future__ import annotations

import base64
import ssl
from datetime import UTC, datetime, timedelta

import pytest

from operatorkit.clock import parse_time
from operatorkit.errors import Invalid
from operatorkit.events import EVENTS
from operatorkit.testing import eventually
from operators.pki import reconcile
from operators.pki.plan import plan


async def test_a_forbidden_name_is_reported_at_the_pod_with_the_nearest_allowed_one(team, pki):
    await team.ca()
    async with pki() as running:
        await team.pod()
        await team.certificate(dnsNames=["app2"])
        event = await team.event("Pod", "web", "DeniedByPolicy")
        assert event["type"] == "Warning"
        assert event["message"].startswith("Did you mean app1?")
        assert "Certificate web" in event["message"]
        assert event["involvedObject"]["kind"] == "Pod"
        assert event["related"]["kind"] == "Certificate"
        await team.event("Certificate", "web", "DeniedByPolicy")
        await running.settled()
        assert event["count"] == 1
        assert await team.find("Secret", "web-tls") is None


async def test_a_denial_that_the_cluster_confirms_is_planned_once(team, pki, monkeypatch):
    plans: list[str] = []

    def counted(seen):
        plans.append(seen.certificate.metadata.name)
        return plan(seen)

    monkeypatch.setattr(reconcile, "plan", counted)
    await team.ca()
    async with pki() as running:
        await running.settled()
        await team.certificate(dnsNames=["app2"])
        await team.condition("Certificate", "web", status="False", reason="DeniedByPolicy")
        await running.settled()
        assert plans == ["web"]


async def test_the_same_denial_again_counts_on_even_by_another_process(team, pki):
    await team.ca()
    await team.pod()
    async with pki():
        await team.certificate(dnsNames=["app2"])
        await team.event("Pod", "web", "DeniedByPolicy")
        await team.condition("Certificate", "web", status="False")
    async with pki() as running:
        await running.settled()
        event = await team.event("Pod", "web", "DeniedByPolicy")
        assert event["count"] == 2
        await team.change("Certificate", "web", spec={"duration": "48h"})
        await team.condition("Certificate", "web", status="False")
        await running.settled()
        event = await team.event("Pod", "web", "DeniedByPolicy")
        assert event["count"] == 3


async def test_the_correction_lets_the_pod_run_and_those_who_heard_of_the_error_hear_of_its_end(team, pki, nodes):
    await team.ca()
    async with pki() as running:
        await team.pod()
        await team.certificate(dnsNames=["app2"])
        await team.event("Pod", "web", "DeniedByPolicy")
        await team.change("Certificate", "web", spec={"dnsNames": ["app1"]})
        await team.ready()
        event = await team.event("Pod", "web", "CertificateIssued")
        assert (event["type"], event["count"]) == ("Normal", 1)
        if nodes is not None:
            await eventually(lambda: phase_is(team, "web", "Running"), timeout=60)
        await running.settled()
        assert len(await team.events("Pod", "web")) == 2


async def test_a_pod_without_a_problem_hears_nothing(team, pki):
    await team.ca()
    async with pki() as running:
        await team.pod()
        await team.certificate()
        await team.ready()
        await running.settled()
        assert await team.events("Pod", "web") == []


async def test_a_pod_that_comes_after_the_failure_is_notified_too(team, pki):
    await team.ca()
    async with pki():
        await team.certificate(dnsNames=["app2"])
        await team.condition("Certificate", "web", status="False", reason="DeniedByPolicy")
        await team.pod("late")
        await team.event("Pod", "late", "DeniedByPolicy")
        assert (await team.event("Certificate", "web", "DeniedByPolicy"))["count"] == 1


async def test_a_new_policy_grants_what_was_denied(team, pki):
    await team.ca()
    async with pki():
        await team.certificate(dnsNames=["app2"])
        await team.condition("Certificate", "web", status="False", reason="DeniedByPolicy")
        await team.change("CertificatePolicy", team.namespace, spec={"allow": {"dnsNames": ["app2"]}})
        await team.ready()


async def test_without_a_policy_nothing_is_allowed(team, pki):
    await team.create("Issuer", "ca", spec={"selfSigned": {}})
    async with pki():
        await team.certificate()
        ready = await team.condition("Certificate", "web", status="False", reason="DeniedByPolicy")
        assert "CertificatePolicy" in ready["message"]


async def test_every_error_of_a_spec_is_named_at_once(team, pki):
    await team.ca()
    async with pki():
        await team.pod()
        await team.certificate(dnsNames=["10.0.0.1", "a..b"], ipAddresses=["here"])
        event = await team.event("Pod", "web", "InvalidSpec")
    for reported in ("spec.dnsNames[0]", "spec.dnsNames[1]", "spec.ipAddresses[0]", "'10.0.0.1'", "Move 10.0.0.1"):
        assert reported in event["message"]


@pytest.mark.parametrize("kind", ["Issuer", "ClusterIssuer"])
async def test_a_missing_issuer_is_named_and_its_arrival_is_enough(team, pki, kind):
    name = f"{team.namespace}-ca"
    place = f" in namespace {team.namespace}" if kind == "Issuer" else ""
    await team.policy()
    async with pki():
        await team.pod()
        await team.certificate(issuerRef={"kind": kind, "name": name})
        event = await team.event("Pod", "web", "IssuerNotFound")
        for reported in (f"Create {kind} {name}{place}, or", "spec.issuerRef"):
            assert reported in event["message"]
        await team.create(kind, name, spec={"selfSigned": {}})
        await team.ready()
        await team.event("Pod", "web", "CertificateIssued")


async def test_a_ca_key_that_does_not_match_is_reported_at_the_issuer_and_at_the_pod(team, pki):
    ca, other = await team.new_ca(), await team.new_ca()
    await team.policy()
    await team.secret("ca", {**ca, "tls.key": other["tls.key"]})
    await team.create("Issuer", "ca", spec={"ca": {"secretName": "ca"}})
    async with pki():
        await team.pod()
        await team.certificate()
        event = await team.event("Pod", "web", "IssuerNotReady")
        for reported in ("Put the key of the certificate", f"tls.key of Secret {team.namespace}/ca", "does not match"):
            assert reported in event["message"]
        ready = await team.condition("Issuer", "ca", status="False", reason="IssuerNotReady")
        assert f"{team.namespace}/ca" in ready["message"]
        await team.change("Secret", "ca", data={"tls.key": base64.b64encode(ca["tls.key"]).decode()})
        await team.condition("Issuer", "ca", status="True")
        await team.ready()


async def test_an_issuer_reads_secrets_of_its_own_namespace_only(team, pki):
    await team.policy()
    await team.create("Issuer", "ca", spec={"ca": {"secretName": "elsewhere"}})
    async with pki():
        ready = await team.condition("Issuer", "ca", status="False", reason="IssuerNotReady")
    assert f"Secret {team.namespace}/elsewhere" in ready["message"]


async def test_of_two_certificates_for_one_secret_the_older_wins(team, pki, fake_clock):
    await team.ca()
    async with pki() as running:
        await team.certificate("first", secretName="shared")
        await team.condition("Certificate", "first", status="True")
        await eventually(lambda: is_junior_now(team, "first"))
        await team.certificate("second", secretName="shared")
        ready = await team.condition("Certificate", "second", status="False", reason="SecretConflict")
        assert "Certificate first" in ready["message"]
        await running.settled()
        await team.delete("Certificate", "first")
        await team.condition("Certificate", "second", status="True", within=60)  # the garbage collector's pace


async def test_the_pods_of_the_older_certificate_do_not_hear_of_the_newer_one_s_conflict(team, pki):
    await team.ca()
    async with pki() as running:
        await team.certificate("first", secretName="shared")
        await team.condition("Certificate", "first", status="True")
        await eventually(lambda: is_junior_now(team, "first"))
        await team.pod(secret="shared")
        await team.certificate("second", secretName="shared")
        await team.event("Certificate", "second", "SecretConflict")
        await running.settled()
        assert await team.events("Pod", "web") == []


async def test_of_two_certificates_of_one_second_the_first_by_name_wins(team, pki):
    await team.ca()
    made = [await team.certificate(name, secretName="shared") for name in ("b", "a")]
    winner, loser = sorted((one["metadata"]["creationTimestamp"], one["metadata"]["name"]) for one in made)
    why = "of the same age, and first by name" if winner[0] == loser[0] else "which is older"
    async with pki():
        ready = await team.condition("Certificate", loser[1], status="False", reason="SecretConflict")
        assert f"Certificate {winner[1]}, {why}, writes Secret shared too" in ready["message"]
        await team.ready(winner[1])


async def test_the_older_claim_to_a_secret_holds_before_there_is_one(team, pki):
    await team.ca()
    async with pki():
        await team.certificate("first", secretName="shared", dnsNames=["app2"])
        await team.condition("Certificate", "first", status="False", reason="DeniedByPolicy")
        await eventually(lambda: is_junior_now(team, "first"))
        await team.certificate("second", secretName="shared")
        ready = await team.condition("Certificate", "second", status="False", reason="SecretConflict")
        assert "Certificate first, which is older" in ready["message"]
        await team.delete("Certificate", "first")
        await team.condition("Certificate", "second", status="True")


async def test_a_secret_of_another_owner_is_left_as_it_is(team, pki):
    await team.ca()
    before = await team.secret("web-tls", {"password": b"precious"})
    async with pki():
        await team.certificate()
        await team.condition("Certificate", "web", status="False", reason="SecretConflict")
        assert await team.get("Secret", "web-tls") == before
        await team.delete("Secret", "web-tls")
        await team.ready()


async def test_a_pki_whose_certificate_another_owner_made_says_so_until_it_is_gone(team, pki, fake_clock):
    """The clock stands: the change itself wakes the Pki, not a retry."""
    await team.ca()
    await team.certificate("shop", dnsNames=["app1"])
    async with pki() as running:
        await team.ready("shop")
        await team.create("Pki", "shop", spec={"serviceName": "shop", "issuerRef": {"kind": "Issuer", "name": "ca"}})
        ready = await team.condition("Pki", "shop", status="False", reason="ChildConflict")
        assert ready["message"].startswith("Rename this Pki, or delete the Certificate with its name: ")
        assert f"Certificate {team.namespace}/shop exists and was not made by pki" in ready["message"]
        assert (await team.event("Pki", "shop", "ChildConflict"))["message"] == ready["message"]
        await running.settled()
        assert (await team.get("Certificate", "shop"))["spec"]["dnsNames"] == ["app1"]
        await team.delete("Certificate", "shop")
        await team.condition("Pki", "shop", status="True")  # its own Certificate's word


async def test_the_event_of_a_waiting_pod_is_there_after_two_hours(team, pki, fake_clock):
    await team.ca()
    async with pki() as running:
        await team.pod()
        await team.certificate(dnsNames=["app2"])
        await team.event("Pod", "web", "DeniedByPolicy")
        await running.settled()
        for _ in range(120):
            await fake_clock.advance(timedelta(minutes=1))
            event = await team.event("Pod", "web", "DeniedByPolicy")
            assert fake_clock.now() - parse_time(event["lastTimestamp"]) <= timedelta(minutes=30)
        event = await team.event("Pod", "web", "DeniedByPolicy")
        assert event["firstTimestamp"] == "2026-01-01T00:00:00Z"
        assert 4 <= event["count"] <= 6


async def phase_is(team, pod: str, phase: str) -> bool:
    return (await team.get("Pod", pod)).get("status", {}).get("phase") == phase


async def is_junior_now(team, senior: str) -> bool:
    """Tell whether what is created now will have a later time of creation, which counts whole seconds."""
    created = (await team.get("Certificate", senior))["metadata"]["creationTimestamp"]
    return datetime.now(UTC) - parse_time(created) > timedelta(seconds=1.5)


async def test_the_workload_above_a_pod_is_notified_as_well(team, pki):
    await team.ca()
    owner = await team.create("Secret", "workload")
    above = {
        "apiVersion": "v1",
        "kind": "Secret",
        "name": "workload",
        "uid": owner["metadata"]["uid"],
        "controller": True,
    }
    async with pki():
        pod = await team.pod()
        await team.change("Pod", pod["metadata"]["name"], metadata={"ownerReferences": [above]})
        await team.certificate(dnsNames=["app2"])
        await team.event("Pod", "web", "DeniedByPolicy")
        await team.event("Secret", "workload", "DeniedByPolicy")


async def test_a_deployment_is_notified_of_what_its_pods_lack_and_not_its_replica_set(team, pki, cluster):
    await team.ca()
    labels = {"app": "web"}
    pod = {
        "volumes": [{"name": "tls", "secret": {"secretName": "web-tls"}}],
        "containers": [{"name": "w", "image": "w"}],
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    async with pki():
        await team.create("Deployment", "web", spec={"selector": {"matchLabels": labels}, "template": template})
        await team.certificate(dnsNames=["app2"])
        await team.event("Deployment", "web", "DeniedByPolicy")
        reported = await cluster.list(EVENTS, namespace=team.namespace, field_selector="reportingComponent=pki")
        assert {event["involvedObject"]["kind"] for event in reported.items} <= {"Certificate", "Pod", "Deployment"}


async def test_after_the_pod_and_the_request_are_gone_nothing_is_written_about_them(team, pki, fake_clock):
    await team.ca()
    async with pki() as running:
        await team.pod()
        await team.certificate(dnsNames=["app2"])
        await team.event("Pod", "web", "DeniedByPolicy")
        await running.settled()
        await team.cluster.delete(team.kinds["Pod"], "web", namespace=team.namespace, grace_period_seconds=0)
        await team.delete("Certificate", "web")
        await running.settled()
        before = running.writes()
        for _ in range(4):
            await fake_clock.advance(timedelta(minutes=30))
        await running.settled()
        assert running.writes() == before


async def test_an_issuer_whose_ca_begins_later_signs_from_then_on(team, pki, fake_clock):
    await team.policy()
    await team.secret("ca", await team.new_ca(begins_in=timedelta(hours=2)))
    await team.create("Issuer", "ca", spec={"ca": {"secretName": "ca"}})
    async with pki() as running:
        await team.certificate()
        ready = await team.condition("Certificate", "web", status="False", reason="IssuerNotReady")
        assert ready["message"].startswith("Wait until 2026-01-01T01:55:00Z")
        await running.settled()
        await fake_clock.advance(timedelta(hours=2))
        await team.ready()
        await team.condition("Issuer", "ca", status="True")


async def test_an_issuer_whose_ca_begins_later_signs_within_a_minute_after_a_suspended_machine(team, pki, fake_clock):
    await team.policy()
    await team.secret("ca", await team.new_ca(begins_in=timedelta(hours=2)))
    await team.create("Issuer", "ca", spec={"ca": {"secretName": "ca"}})
    async with pki() as running:
        await team.certificate()
        await team.condition("Certificate", "web", status="False", reason="IssuerNotReady")
        await team.condition("Issuer", "ca", status="False", reason="IssuerNotReady")
        await running.settled()
        fake_clock.step(timedelta(hours=2))
        await fake_clock.advance(timedelta(minutes=1))
        await team.ready()
        await team.condition("Issuer", "ca", status="True")


async def test_a_negative_duration_is_reported_by_the_server_or_in_the_events(team, pki):
    """The API server refuses it where it evaluates rules; where it does not, the operator says the same."""
    await team.ca()
    async with pki():
        try:
            await team.certificate(duration="-1h")
        except Invalid as error:
            reported = str(error)
        else:
            reported = (await team.event("Certificate", "web", "InvalidSpec"))["message"]
    assert "spec.duration" in reported
    assert "-1h" in reported
    assert "at least 1h" in reported
    assert "2160h" in reported


async def test_a_common_name_that_is_too_long_is_rejected_with_its_field(team):
    with pytest.raises(Invalid, match=r"spec\.commonName: Too long: may not be more than 64"):
        await team.certificate(commonName="a" * 65)


@pytest.mark.parametrize("name", ["a/b", "..", "a%2fb"])
async def test_a_reference_that_no_object_could_have_is_reported_by_the_server_or_as_an_invalid_spec(team, pki, name):
    await team.ca()
    async with pki() as running:
        await team.pod()
        fields = await rejected_fields(team.certificate(issuerRef={"name": name}))
        assert fields in (None, ["spec.issuerRef.name"])
        if fields is None:
            ready = await team.condition("Certificate", "web", status="False", reason="InvalidSpec")
            assert f"spec.issuerRef.name is {name!r}" in ready["message"]
            await team.event("Pod", "web", "InvalidSpec")
        fields = await rejected_fields(team.create("Issuer", "odd", spec={"ca": {"secretName": name}}))
        assert fields in (None, ["spec.ca.secretName"])
        if fields is None:
            ready = await team.condition("Issuer", "odd", status="False", reason="InvalidSpec")
            assert f"spec.ca.secretName is {name!r}" in ready["message"]
            await team.certificate("below", issuerRef={"name": "odd"})
            ready = await team.condition("Certificate", "below", status="False", reason="IssuerNotReady")
            assert f"spec.ca.secretName is {name!r}" in ready["message"]
        await running.settled()


async def test_a_forgotten_kind_of_issuer_is_reported_with_the_one_that_exists(team, pki):
    await team.policy()
    await team.create("ClusterIssuer", team.namespace, spec={"selfSigned": {}})
    async with pki():
        await team.certificate(issuerRef={"name": team.namespace})
        ready = await team.condition("Certificate", "web", status="False", reason="IssuerNotFound")
        assert ready["message"].startswith(
            f"Set spec.issuerRef.kind to ClusterIssuer: ClusterIssuer {team.namespace} exists"
        )
        await team.change("Certificate", "web", spec={"issuerRef": {"kind": "ClusterIssuer"}})
        await team.ready()


async def test_a_renewal_that_would_never_end_is_rejected(team, pki):
    await team.ca()
    async with pki() as running:
        await team.certificate(duration="1h", renewBefore="59m59s")
        ready = await team.condition("Certificate", "web", status="False", reason="InvalidSpec")
        assert "spec.renewBefore is '59m59s'" in ready["message"]
        await running.settled()
        assert await team.find("Secret", "web-tls") is None


async def test_another_key_than_the_one_that_is_never_rotated_is_rejected(team, pki):
    await team.ca()
    async with pki():
        await team.certificate(privateKey={"rotationPolicy": "Never"})
        first = await team.ready()
        await team.change("Certificate", "web", spec={"privateKey": {"size": 384}})
        ready = await team.condition("Certificate", "web", status="False", reason="KeyPolicyMismatch")
        assert "spec.privateKey asks for ECDSA 384" in ready["message"]
        assert await team.leaf() == first
        await team.change("Certificate", "web", spec={"privateKey": {"rotationPolicy": "Always"}})
        assert (await team.ready()).public_key().key_size == 384


async def test_a_ca_that_nothing_can_be_read_of_is_reported_at_the_issuer_and_the_certificate(team, pki):
    data = await team.ca()
    der = ssl.PEM_cert_to_DER_cert(data["tls.crt"].decode())
    name = f"root of {team.namespace}".encode()
    odd = ssl.DER_cert_to_PEM_cert(der.replace(name, b"\xfc" + name[1:])).encode()
    async with pki():
        await team.change("Secret", "ca", data={k: base64.b64encode(odd).decode() for k in ("tls.crt", "ca.crt")})
        await team.certificate()
        for kind, called in (("Issuer", "ca"), ("Certificate", "web")):
            ready = await team.condition(kind, called, status="False", reason="IssuerNotReady")
            assert ready["message"].startswith(f"Put certificates in PEM into tls.crt of Secret {team.namespace}/ca")


async def rejected_fields(creation):
    """Return the fields for which a server that evaluates rules refuses an object, or None where it takes it."""
    try:
        await creation
    except Invalid as error:
        return [cause.field for cause in error.causes]
    return None
