"""Certificates do not wait for Events, whatever the API answers to them, and recoveries read them once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from operatorkit.errors import AlreadyExists, ClusterError, Conflict, Forbidden, Throttled
from operatorkit.events import EVENTS
from operatorkit.testing import eventually
from operatorkit.testing.running import running
from operators.pki import app


class EventsFail:
    """A `ClusterAPI` that answers each request for Events with an error, or never."""

    def __init__(self, api: Any, error: ClusterError | None) -> None:
        self._api = api
        self._error = error
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._api, name)
        if name not in {"create", "patch", "get", "list"}:
            return method

        async def ask(resource: Any, *args: Any, **options: Any) -> Any:
            if resource != EVENTS:
                return await method(resource, *args, **options)
            self.asked += 1
            if self._error is None:
                await asyncio.Event().wait()
            raise self._error

        return ask


ERRORS = {
    "403": Forbidden("no", code=403),
    "409 on all": AlreadyExists("it is there", code=409),
    "409 of a conflict": Conflict("try again", code=409),
    "429": Throttled("later", code=429),
    "500": ClusterError("oops", code=500),
    "no answer": None,
}


@pytest.mark.parametrize("error", ERRORS)
async def test_a_certificate_is_issued_and_says_so_whatever_becomes_of_its_events(team, error):
    await team.ca()
    api = EventsFail(team.cluster, ERRORS[error])
    async with running(app, api, clock=team.clock, namespace=team.namespace):
        await team.pod()
        await team.certificate(dnsNames=["app2"])
        await team.condition("Certificate", "web", status="False", reason="DeniedByPolicy")
        await team.change("Certificate", "web", spec={"dnsNames": ["app1"]})
        await team.ready()
        await team.certificate("other")
        await team.ready("other")
    assert 0 < api.asked < 100


async def test_those_warned_of_a_failure_by_an_earlier_process_hear_of_its_end_from_one_list(team, pki):
    await team.ca()
    await team.pod()
    names = [f"c{number}" for number in range(20)]
    async with pki() as running_before:
        for name in names:
            await team.certificate(name, dnsNames=["app2"], secretName="web-tls" if name == "c0" else f"{name}-tls")
        for name in names:
            await team.condition("Certificate", name, status="False", reason="DeniedByPolicy")
        await running_before.settled()
    await team.change("CertificatePolicy", team.namespace, spec={"allowedNames": ["app1", "app2"]})
    async with pki() as started:
        for name in names:
            await team.ready(name)
        await started.settled()
        lists = [call for call in started.cluster.calls if (call.verb, call.resource) == ("list", "events")]
        assert len([call for call in lists if call.namespace == team.namespace]) == 1

        async def reported() -> bool:
            return bool(await team.events("Pod", "web", "CertificateIssued"))

        await eventually(reported)
    for name in names:
        assert len(await team.events("Certificate", name, "CertificateIssued")) == 1
