"""Certificates come into being, are renewed, and are repaired."""

from __future__ import annotations

import asyncio
import base64
import subprocess
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtensionOID

from operatorkit.clock import parse_time
from operatorkit.testing import eventually

SAN, DNS = ExtensionOID.SUBJECT_ALTERNATIVE_NAME, x509.DNSName


async def test_a_certificate_becomes_a_secret_with_a_chain_that_openssl_accepts(team, pki, tmp_path):
    ca = await team.ca()
    async with pki() as running:
        await team.certificate(dnsNames=["app1", f"web.{team.namespace}.svc"])
        await team.ready()
        await running.settled()
        assert running.writes()["patch", "secrets"] == 1
        assert running.writes()["patch", "certificates/status"] == 1
    secret = await team.get("Secret", "web-tls")
    assert secret["type"] == "kubernetes.io/tls"
    assert set(secret["data"]) == {"tls.crt", "tls.key", "ca.crt"}
    data = await team.data("web-tls")
    assert data["ca.crt"] == ca["tls.crt"]
    for name, value in data.items():
        (tmp_path / name).write_bytes(value)
    verified = await asyncio.to_thread(openssl_verify, tmp_path, "app1")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    key = load_pem_private_key(data["tls.key"], None)
    assert key.public_key() == (await team.leaf()).public_key()


async def test_the_status_and_one_event_describe_the_certificate(team, pki):
    await team.ca()
    async with pki():
        await team.certificate()
        leaf = await team.ready()
        event = await team.event("Certificate", "web", "CertificateIssued")
    assert (event["type"], event["count"]) == ("Normal", 1)
    status = (await team.get("Certificate", "web"))["status"]
    assert status["serialNumber"] == f"{leaf.serial_number:x}"
    assert parse_time(status["notAfter"]) == leaf.not_valid_after_utc
    assert status["revision"] == 1
    assert status["issuer"] == "Issuer/ca"
    assert leaf.not_valid_before_utc < parse_time(status["renewalTime"]) < leaf.not_valid_after_utc


async def test_a_pki_needs_a_service_name_only(team, pki):
    await team.policy(
        allowedNames=["shop", "shop.{{namespace}}", "*.{{namespace}}.svc", "*.{{namespace}}.svc.cluster.local"]
    )
    await team.secret("ca", await team.new_ca())
    await team.create("ClusterIssuer", team.namespace, spec={"ca": {"secretName": "ca"}})
    async with pki():
        await team.create(
            "Pki", "shop", spec={"serviceName": "shop", "issuerRef": {"kind": "ClusterIssuer", "name": team.namespace}}
        )
        await team.condition("Pki", "shop", status="True")
        leaf = await team.ready("shop")
    names = {name.value for name in leaf.extensions.get_extension_for_oid(SAN).value}
    assert names == {"shop", f"shop.{team.namespace}", f"shop.{team.namespace}.svc"} | {
        f"shop.{team.namespace}.svc.cluster.local"
    }
    assert (await team.get("Pki", "shop"))["status"]["secretName"] == "shop-tls"


async def test_a_pki_gets_the_names_that_a_policy_allows_and_says_which_it_lacks(team, pki):
    await team.ca()
    namespace = team.namespace
    async with pki():
        await team.create("Pki", "shop", spec={"serviceName": "shop", "issuerRef": {"kind": "Issuer", "name": "ca"}})
        ready = await team.condition("Pki", "shop", status="True")
        leaf = await team.ready("shop")
        names = leaf.extensions.get_extension_for_oid(SAN).value.get_values_for_type(DNS)
        assert names == [f"shop.{namespace}.svc", f"shop.{namespace}.svc.cluster.local"]
        left_out = (await team.get("Pki", "shop"))["status"]["leftOut"]
        assert [each["name"] for each in left_out] == ["shop", f"shop.{namespace}"]
        assert left_out[0]["reason"].startswith(
            f"Ask a cluster administrator to add Short to spec.services of CertificatePolicy {namespace}"
        )
        assert f"no policy allows shop, shop.{namespace}, which it lacks" in ready["message"]
        await team.change("CertificatePolicy", namespace, spec={"services": ["Full", "Namespaced", "Short"]})
        await eventually(lambda: has_names(team, "shop-tls", 4))
        await team.condition("Pki", "shop", status="True")
        assert (await team.get("Pki", "shop"))["status"]["leftOut"] == []


async def test_a_pki_of_which_no_name_is_allowed_is_denied_by_its_own_field_and_at_its_pod(team, pki):
    await team.ca()
    await team.change("CertificatePolicy", team.namespace, spec={"services": []})
    async with pki():
        await team.pod("shop", secret="shop-tls")
        await team.create("Pki", "shop", spec={"serviceName": "shop", "issuerRef": {"kind": "Issuer", "name": "ca"}})
        ready = await team.condition("Pki", "shop", status="False", reason="DeniedByPolicy")
        event = await team.event("Pod", "shop", "DeniedByPolicy")
        for message in (ready["message"], event["message"]):
            assert "spec.serviceName is 'shop'" in message
            assert "dnsNames" not in message
        assert len((await team.get("Pki", "shop"))["status"]["leftOut"]) == 4


async def test_a_self_signed_ca_signs_through_an_issuer_of_its_own(team, pki):
    await team.root_policy()
    await team.create("Issuer", "self", spec={"selfSigned": {}})
    await team.create("Issuer", "ca", spec={"ca": {"secretName": "root-tls"}})
    async with pki():
        await team.certificate()
        await team.condition("Certificate", "web", status="False", reason="IssuerNotReady")
        await team.certificate("root", issuerRef={"name": "self"}, commonName="root", dnsNames=[], isCA=True)
        leaf = await team.ready()
        await team.condition("Issuer", "ca", status="True")
    root = await team.leaf("root-tls")
    leaf.verify_directly_issued_by(root)
    constraints = root.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    assert constraints.value.permitted_subtrees == [x509.DNSName("app1")]


async def test_a_deleted_secret_comes_back(team, pki):
    await team.ca()
    async with pki():
        await team.certificate()
        first = await team.ready()
        await team.delete("Secret", "web-tls")
        second = await eventually(team.leaf)
        assert second.serial_number != first.serial_number
        await eventually(lambda: revision_is(team, 2))


async def test_a_tampered_secret_is_repaired_and_repairs_are_bounded(team, pki, fake_clock):
    await team.ca()
    async with pki() as running:
        await team.certificate()
        await team.ready()
        for revision in (2, 3, 4):
            await team.change("Secret", "web-tls", data={"tls.key": base64.b64encode(b"nonsense").decode()})
            await eventually(lambda revision=revision: revision_is(team, revision))
            await running.settled()
        await team.change("Secret", "web-tls", data={"tls.key": base64.b64encode(b"nonsense").decode()})
        ready = await team.condition("Certificate", "web", status="False", reason="RetryScheduled")
        assert "Secret web-tls" in ready["message"]
        await running.settled()
        await fake_clock.advance(timedelta(minutes=4))
        await team.condition("Certificate", "web", status="True")
        assert await revision_is(team, 5)


async def test_a_certificate_is_renewed_before_it_expires(team, pki, fake_clock):
    await team.ca()
    async with pki() as running:
        await team.certificate(duration="24h")
        first = await team.ready()
        await running.settled()
        await fake_clock.advance(timedelta(hours=15))
        assert await team.leaf() == first
        await fake_clock.advance(timedelta(hours=1, minutes=5))
        await eventually(lambda: revision_is(team, 2))
        second = await team.leaf()
        assert second.not_valid_after_utc > first.not_valid_after_utc
        assert second.public_key() != first.public_key()
        event = await team.event("Certificate", "web", "CertificateRenewed")
        assert event["count"] == 1


async def test_a_certificate_is_renewed_within_a_minute_after_its_machine_was_suspended(team, pki, fake_clock):
    """The wall clock is ahead then, by more than the monotonic clock, by which nobody's wait is over."""
    await team.ca()
    async with pki() as running:
        await team.certificate(duration="24h")
        first = await team.ready()
        renewal = parse_time((await team.get("Certificate", "web"))["status"]["renewalTime"])
        await running.settled()
        fake_clock.step(renewal - fake_clock.now())
        await fake_clock.advance(timedelta(minutes=1))
        await running.settled()
        assert await team.leaf() != first
        await team.event("Certificate", "web", "CertificateRenewed")


async def test_a_renewal_waits_for_its_moment_though_the_clock_is_set_back(team, pki, fake_clock):
    await team.ca()
    async with pki() as running:
        await team.certificate(duration="24h")
        first = await team.ready()
        renewal = parse_time((await team.get("Certificate", "web"))["status"]["renewalTime"])
        await running.settled()
        fake_clock.step(-timedelta(minutes=3))
        await fake_clock.advance(renewal - fake_clock.now() - timedelta(minutes=2))
        await running.settled()
        assert await team.leaf() == first
        await fake_clock.advance(timedelta(minutes=3))
        await running.settled()
        assert await team.leaf() != first


async def test_a_key_that_is_never_rotated_survives_the_renewal(team, pki, fake_clock):
    await team.ca()
    async with pki() as running:
        await team.certificate(duration="24h", privateKey={"rotationPolicy": "Never"})
        first = await team.ready()
        await running.settled()
        await fake_clock.advance(timedelta(hours=17))
        await eventually(lambda: revision_is(team, 2))
        assert (await team.leaf()).public_key() == first.public_key()


async def test_a_changed_spec_is_issued_again(team, pki):
    await team.ca()
    async with pki():
        await team.certificate()
        await team.ready()
        await team.change("Certificate", "web", spec={"dnsNames": [f"b.{team.namespace}.svc"]})
        leaf = await team.ready()
    assert leaf.extensions.get_extension_for_oid(SAN).value.get_values_for_type(DNS) == [f"b.{team.namespace}.svc"]


async def test_a_ca_that_is_replaced_signs_again_what_the_old_one_signed(team, pki):
    old = await team.ca()
    async with pki() as running:
        await team.pod()
        await team.certificate()
        await team.ready()
        new = await team.new_ca()
        data = {name: base64.b64encode(value).decode() for name, value in new.items()}
        await team.change("Secret", "ca", data={**data, "tls.key": base64.b64encode(old["tls.key"]).decode()})
        await team.condition("Issuer", "ca", status="False", reason="IssuerNotReady")
        await running.settled()
        assert await revision_is(team, 1), "a CA that is half replaced does not disturb what is well"
        await team.condition("Certificate", "web", status="True")
        await team.change("Secret", "ca", data=data)
        await eventually(lambda: revision_is(team, 2))
        leaf = await team.ready()
        leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(new["tls.crt"]))
        assert (await team.data("web-tls"))["ca.crt"] == new["tls.crt"]
        await running.settled()
        assert await team.events("Pod", "web") == []


async def test_a_certificate_never_outlives_its_ca_and_says_so(team, pki):
    await team.ca(days=10)
    async with pki():
        await team.certificate(duration="2160h")
        leaf = await team.ready()
        ready = await team.condition("Certificate", "web", status="True")
    ca = await team.leaf("ca")
    assert leaf.not_valid_after_utc == ca.not_valid_after_utc
    assert "shortened" in ready["message"]


async def test_a_restarted_operator_changes_nothing(team, pki):
    await team.ca()
    async with pki():
        await team.certificate()
        await team.ready()
    async with pki() as running:
        await running.settled()
        assert running.writes() == {}


async def test_the_secret_goes_with_its_certificate_and_the_old_one_with_a_new_name(team, pki):
    await team.ca()
    async with pki():
        await team.certificate()
        await team.ready()
        await team.change("Certificate", "web", spec={"secretName": "other-tls"})
        await team.ready()
        await eventually(lambda: is_gone(team, "web-tls"))
        await team.delete("Certificate", "web")
        await eventually(lambda: is_gone(team, "other-tls"), timeout=180)  # the garbage collector's pace


async def revision_is(team, revision: int) -> bool:
    return (await team.get("Certificate", "web")).get("status", {}).get("revision") == revision


async def has_names(team, secret: str, count: int) -> bool:
    leaf = await team.leaf(secret)
    return len(leaf.extensions.get_extension_for_oid(SAN).value.get_values_for_type(DNS)) == count


async def is_gone(team, secret: str) -> bool:
    return await team.find("Secret", secret) is None


def openssl_verify(directory: Path, host: str) -> subprocess.CompletedProcess[str]:
    strict = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", host]
    files = ["-CAfile", directory / "ca.crt", directory / "tls.crt"]
    return subprocess.run([*strict, *files], capture_output=True, check=False, text=True)


async def test_a_secret_under_a_former_name_stays_while_a_pod_uses_it(team, pki):
    await team.ca()
    async with pki() as running:
        await team.certificate()
        old = await team.ready()
        await team.pod()
        await team.certificate("idle", secretName="idle-tls")
        await team.ready("idle")
        for name in ("web", "idle"):
            await team.change("Certificate", name, spec={"secretName": f"{name}-new"})
        for name in ("web", "idle"):
            await team.condition("Certificate", name, status="True")
            await eventually(lambda name=name: team.find("Secret", f"{name}-new"))
        await running.settled()
        assert await team.leaf("web-tls") == old
        assert await team.find("Secret", "idle-tls") is None
        await team.delete("Pod", "web")

        async def collected() -> bool:
            return await team.find("Secret", "web-tls") is None

        await eventually(collected)
        assert await team.leaf("web-new") != old


async def test_repairs_of_a_secret_back_off_and_say_so(team, pki, fake_clock):
    await team.ca()
    async with pki() as running:
        await team.certificate()
        await team.ready()
        for revision in (2, 3, 4, 5, 6):
            await running.settled()
            await team.delete("Secret", "web-tls")
            if revision > 4:
                ready = await team.condition("Certificate", "web", status="False", reason="RetryScheduled")
                assert f"it was deleted, and repaired, {revision - 2} times in a row" in ready["message"]
                await running.settled()
                await fake_clock.advance(timedelta(seconds=6 if revision == 5 else 11))
            await eventually(lambda revision=revision: revision_is(team, revision))
        await running.settled()
        await team.change("Secret", "web-tls", data={"tls.key": base64.b64encode(b"nonsense").decode()})
        await eventually(lambda: revision_is(team, 7))  # another cause: not slowed by the first
