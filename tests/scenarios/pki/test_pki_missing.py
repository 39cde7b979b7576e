"""A Pod that waits for a Secret which nobody writes hears which one was perhaps meant."""

from __future__ import annotations

from datetime import timedelta

from operatorkit.testing import eventually, idle


async def test_a_pod_with_a_misspelt_secret_gets_the_nearest_name(team, pki):
    await team.ca()
    async with pki() as running:
        await team.certificate("web")
        await team.certificate("database")
        await team.ready("web")
        await team.pod(secret="web-tsl")
        event = await team.event("Pod", "web", "SecretNotFound")
        assert event["type"] == "Warning"
        assert event["message"].startswith("Did you mean web-tls? Secret web-tsl does not exist")
        assert "Certificate web writes web-tls" in event["message"]
        await running.settled()
        assert await team.events("Certificate", "web", "SecretNotFound") == []
        await team.change("Certificate", "web", spec={"duration": "48h"})  # a recovery of others is not the Pod's
        await running.settled()
        assert [event["reason"] for event in await team.events("Pod", "web")] == ["SecretNotFound"]
        await idle(running.cluster)


async def test_a_pod_that_was_there_first_is_notified_by_the_certificate_that_comes_nearest(team, pki):
    await team.ca()
    async with pki() as running:
        await team.create("Pod", "web", spec=from_environment("web-tsl"))
        await team.certificate("far", secretName="wob-tls")
        await team.event("Pod", "web", "SecretNotFound")
        await team.certificate("web")
        await eventually(lambda: says(team, "Did you mean web-tls?"))
        await running.settled()


async def test_a_certificate_that_is_denied_notifies_the_pod_too(team, pki):
    await team.ca()
    async with pki():
        await team.certificate(dnsNames=["app2"])
        await team.pod(secret="web-tsl")
        await team.event("Pod", "web", "SecretNotFound")
        await team.event("Certificate", "web", "DeniedByPolicy")
        assert await team.events("Pod", "web", "DeniedByPolicy") == []


async def test_the_event_ends_when_a_user_makes_the_secret(team, pki, fake_clock):
    await team.ca()
    async with pki() as running:
        await team.certificate()
        await team.pod(secret="web-tsl")
        await reported_after_the_grace_period(team, running, fake_clock)
        await team.secret("web-tsl", {"key": b"value"})
        await is_notified_no_more(running, fake_clock)


async def test_the_event_ends_when_a_certificate_writes_the_secret(team, pki, fake_clock):
    await team.ca()
    async with pki() as running:
        await team.certificate()
        await team.pod(secret="web-tsl")
        await reported_after_the_grace_period(team, running, fake_clock)
        await team.certificate("other", secretName="web-tsl")
        await team.ready("other")
        await is_notified_no_more(running, fake_clock)
        assert await team.events("Pod", "web", "CertificateIssued") == []


async def test_the_event_ends_when_the_pod_or_the_certificate_goes(team, pki, fake_clock):
    await team.ca()
    async with pki() as running:
        await team.certificate()
        await team.pod(secret="web-tsl")
        await reported_after_the_grace_period(team, running, fake_clock)
        await team.cluster.delete(team.kinds["Pod"], "web", namespace=team.namespace, grace_period_seconds=0)
        await is_notified_no_more(running, fake_clock)
        await team.pod("next", secret="web-tsl")
        await reported_after_the_grace_period(team, running, fake_clock, pod="next")
        await team.delete("Certificate", "web")
        await is_notified_no_more(running, fake_clock)


async def test_the_event_lives_as_long_as_the_pod_waits(team, pki, fake_clock):
    await team.ca()
    async with pki() as running:
        await team.certificate()
        await team.pod(secret="web-tsl")
        await reported_after_the_grace_period(team, running, fake_clock)
        for _ in range(30):
            await fake_clock.advance(timedelta(minutes=1))
            await running.settled()
        assert (await team.event("Pod", "web", "SecretNotFound"))["count"] == 2


async def test_a_secret_that_comes_with_the_pod_or_is_optional_or_unlike_any_is_not_spoken_of(team, pki, fake_clock):
    await team.ca()
    volume = {"name": "tls", "secret": {"secretName": "web-tsl", "optional": True}}
    source = {"secretRef": {"name": "web-tsi", "optional": True}}
    container = {"name": "web", "image": "web", "envFrom": [source]}
    async with pki() as running:
        await team.certificate()
        await team.pod("late", secret="web-tlz")
        await team.create("Pod", "optional", spec={"volumes": [volume], "containers": [container]})
        await team.pod("unlike", secret="database-password")
        await running.settled()
        await team.secret("web-tlz", {"key": b"value"})
        await running.settled()
        await fake_clock.advance(timedelta(minutes=1))
        await running.settled()
        for pod in ("late", "optional", "unlike"):
            assert await team.events("Pod", pod) == []


async def reported_after_the_grace_period(team, running, fake_clock, *, pod: str = "web") -> None:
    await running.settled()
    assert await team.events("Pod", pod) == []
    await fake_clock.advance(timedelta(seconds=3))
    await team.event("Pod", pod, "SecretNotFound")
    await running.settled()


async def is_notified_no_more(running, fake_clock) -> None:
    await running.settled()
    before = running.writes()[("patch", "events")]
    for _ in range(4):
        await fake_clock.advance(timedelta(minutes=15))
    await running.settled()
    assert running.writes()[("patch", "events")] == before


async def says(team, beginning: str) -> bool:
    events = await team.events("Pod", "web", "SecretNotFound")
    return any(event["message"].startswith(beginning) for event in events)


def from_environment(secret: str) -> dict:
    variable = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": secret, "key": "tls.key"}}}
    return {"containers": [{"name": "web", "image": "web", "env": [variable]}]}
