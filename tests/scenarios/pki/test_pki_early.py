"""What is on its way is awaited, and what is there already is found: nobody is warned of something untrue."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from operatorkit.errors import Forbidden
from operatorkit.events import EVENTS
from operatorkit.testing.running import running
from operators.pki import app


class Lagging:
    """A `ClusterAPI` whose watches of issuers, policies and Secrets tell nothing until `caught_up`."""

    LATE = frozenset({"issuers", "clusterissuers", "certificatepolicies", "secrets"})

    def __init__(self, api: Any) -> None:
        self._api = api
        self.caught_up = asyncio.Event()
        self.forbids: set[str] = set()
        self.live: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._api, name)

    async def get(self, resource: Any, name: str, **options: Any) -> Any:
        self.live.append(resource.plural)
        if resource.plural in self.forbids:
            raise Forbidden(f'{resource.plural} "{name}" is forbidden')
        return await self._api.get(resource, name, **options)

    async def watch(self, resource: Any, **options: Any) -> Any:
        async for event in self._api.watch(resource, **options):
            if resource.plural in self.LATE:
                await self.caught_up.wait()
            yield event


@pytest.fixture
def lagging_pki(team):
    @asynccontextmanager
    async def run():
        api = Lagging(team.cluster)
        async with running(app, api, clock=team.clock, namespace=team.namespace) as started:
            await started.settled()
            try:
                yield api
            finally:
                api.caught_up.set()

    return run


async def warnings(team) -> list[tuple[str, str, str]]:
    """Return all that pki warns of in the namespace: reason, kind, name."""
    return [
        (event["reason"], event["involvedObject"]["kind"], event["involvedObject"]["name"])
        for event in (await team.cluster.list(EVENTS, namespace=team.namespace)).items
        if event.get("reportingComponent") == "pki" and event["type"] == "Warning"
    ]


async def test_what_caches_do_not_hold_yet_is_found_in_the_cluster(team, lagging_pki):
    async with lagging_pki() as api:
        await team.pod()
        await team.ca()
        await team.certificate()
        await team.ready()
        assert not api.caught_up.is_set()
        api.caught_up.set()
        await team.condition("Issuer", "ca", status="True")
    assert await warnings(team) == []


async def test_an_issuer_whose_secret_is_not_in_the_cache_yet_is_not_said_to_lack_it(team, lagging_pki):
    async with lagging_pki() as api:
        api.LATE = frozenset({"secrets"})
        await team.ca()
        await team.condition("Issuer", "ca", status="True")
        assert not api.caught_up.is_set()
    assert await warnings(team) == []


async def test_a_denial_is_checked_with_the_policies_of_the_cluster(team, lagging_pki):
    async with lagging_pki() as api:
        api.LATE = frozenset({"certificatepolicies"})
        await team.ca()
        await team.certificate("good")
        await team.certificate("bad", dnsNames=["app2"])
        await team.ready("good")
        reported = await team.event("Certificate", "bad", "DeniedByPolicy")
        assert reported["message"].startswith("Did you mean app1?")
        assert not api.caught_up.is_set()


async def test_where_a_live_read_is_forbidden_the_caches_are_believed(team, lagging_pki, fake_clock):
    async with lagging_pki() as api:
        api.forbids = {"issuers"}
        await team.policy()
        await team.certificate()
        await team.condition("Certificate", "web", status="Unknown", reason="IssuerNotFound")
        await fake_clock.advance(timedelta(seconds=2))
        await team.condition("Certificate", "web", status="False", reason="IssuerNotFound")
        assert "issuers" in api.live


async def test_parts_that_arrive_in_the_wrong_order_send_no_warning(team, pki, fake_clock):
    async with pki() as running:
        await team.pod()
        await team.certificate()
        waiting = await team.condition("Certificate", "web", status="Unknown", reason="IssuerNotFound")
        assert f"Create Issuer ca in namespace {team.namespace}" in waiting["message"]
        await team.create("Issuer", "ca", spec={"ca": {"secretName": "ca"}})
        await team.condition("Issuer", "ca", status="Unknown", reason="IssuerNotReady")
        await team.condition("Certificate", "web", status="Unknown", reason="IssuerNotReady")
        await team.secret("ca", await team.new_ca())
        await team.condition("Issuer", "ca", status="True")
        await team.condition("Certificate", "web", status="Unknown", reason="DeniedByPolicy")
        await team.policy()
        await team.ready()
        await running.settled()
        await fake_clock.advance(timedelta(minutes=1))
        await running.settled()
    assert await warnings(team) == []
    assert [event["reason"] for event in await team.events("Pod", "web")] == []


async def test_what_stays_away_is_reported_after_two_seconds_and_again_only_when_it_is_news(team, pki, fake_clock):
    await team.policy()
    async with pki() as running:
        await team.pod()
        await team.create("Issuer", "ca", spec={"ca": {"secretName": "ca"}})
        await team.certificate()
        await team.condition("Issuer", "ca", status="Unknown", reason="IssuerNotReady")
        await team.condition("Certificate", "web", status="Unknown", reason="IssuerNotReady")
        await running.settled()
        assert await warnings(team) == []
        await fake_clock.advance(timedelta(seconds=2))
        event = await team.event("Pod", "web", "IssuerNotReady")
        assert event["message"].startswith(f"Create Secret {team.namespace}/ca with the CA's tls.crt and tls.key")
        await team.event("Issuer", "ca", "IssuerNotReady")
        await team.condition("Certificate", "web", status="False")
        await running.settled()
        await team.change("Certificate", "web", metadata={"annotations": {"operatorkit.dev/reconcile-at": "now"}})
        await running.settled()
        await team.condition("Certificate", "web", status="False")
        assert (await team.event("Pod", "web", "IssuerNotReady"))["count"] == 1


async def test_a_chain_that_is_applied_at_once_sends_no_warning(team, pki, fake_clock):
    """Root, issuer and leaf in one go, the leaf first: each waits for the one above it."""
    async with pki() as running:
        await team.pod()
        await team.certificate()
        await team.create("Issuer", "ca", spec={"ca": {"secretName": "root-tls"}})
        await team.certificate("root", issuerRef={"name": "self"}, commonName="root", dnsNames=[], isCA=True)
        await team.create("Issuer", "self", spec={"selfSigned": {}})
        await team.root_policy()
        leaf = await team.ready()
        leaf.verify_directly_issued_by(await team.leaf("root-tls"))
        await running.settled()
    assert await warnings(team) == []


async def test_a_secret_that_a_certificate_is_to_write_is_not_asked_of_people(team, pki, fake_clock):
    await team.policy()
    await team.create("Issuer", "ca", spec={"ca": {"secretName": "root-tls"}})
    await team.certificate("root", issuerRef={"name": "none"}, commonName="root", dnsNames=[], isCA=True)
    await team.certificate()
    async with pki():
        ready = await team.condition("Issuer", "ca", status="Unknown", reason="IssuerNotReady")
        assert ready["message"].startswith("See the conditions of Certificate root")
        ready = await team.condition("Certificate", "web", status="Unknown", reason="IssuerNotReady")
        assert ready["message"].startswith("See the conditions of Certificate root")


async def test_a_secret_that_a_deleted_certificate_left_behind_sends_no_warning_while_it_is_collected(
    team, pki, fake_clock
):
    """A finalizer of its own holds the Secret: no garbage collector is faster than this test."""
    await team.ca()
    async with pki() as running:
        await team.pod()
        await team.certificate()
        first = await team.ready()
        await team.change("Secret", "web-tls", metadata={"finalizers": ["example.com/hold"]})
        await running.settled()
        await team.delete("Certificate", "web")
        await team.certificate(dnsNames=[f"web.{team.namespace}.svc"])
        waiting = await team.condition("Certificate", "web", status="Unknown", reason="SecretConflict")
        assert "it was created by Certificate web" in waiting["message"]
        assert await team.leaf() == first
        await team.change("Secret", "web-tls", metadata={"finalizers": None})
        await team.condition("Certificate", "web", status="True", within=60)  # the garbage collector's pace
        assert await team.leaf() != first
        await running.settled()
    assert await warnings(team) == []
