"""Gates: checks of a set's own that have to allow each voluntary disruption of an available member."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from operatorkit.errors import Invalid
from operatorkit.names import ApiResource
from operatorkit.testing import eventually

PODS = ApiResource("", "v1", "Pod", "pods", namespaced=True)
EVENTS = ApiResource("", "v1", "Event", "events", namespaced=True)
QUORUM = "pods.filter(p, p.status.phase == 'Running').size() >= 3 && object.spec.replicas == 3"


@asynccontextmanager
async def member_server(answer):
    """Serve what members answer, on an address of this machine; yield the port and the requests so far."""
    requests = []

    async def handle(request):
        requests.append((request.path_qs, request.headers.get("X-Member")))
        return await answer()

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield site._server.sockets[0].getsockname()[1], requests
    finally:
        await runner.cleanup()


async def give_addresses(stateful):
    """Give the members the address of this machine: simulated nodes have none that can be reached."""
    status = {"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}}
    for name in await stateful.pods():
        await stateful.patch(PODS, name, status, subresource="status")


async def events(stateful, reason):
    found = (await stateful.cluster.list(EVENTS, namespace=stateful.namespace)).items
    return [(each["type"], each["message"]) for each in found if each["reason"] == reason]


def http_gate(port, **more):
    headers = [{"name": "X-Member", "value": "$(POD_NAME)"}]
    request = {"path": "/may-stop?pod=$(POD_NAME)", "port": port, "httpHeaders": headers}
    return {"gates": [{"name": "drained", "httpGet": request, **more}]}


async def test_a_cel_gate_holds_an_update_until_it_is_true(sets):
    async with sets() as stateful:
        approved = "has(object.metadata.labels) && 'approved' in object.metadata.labels"
        gate = {"name": "approved", "cel": approved}
        await stateful.create(disruption={"gates": [gate]})
        await stateful.available(3)
        before = await stateful.uids()
        await stateful.set_image("web:2")
        await stateful.says("Progressing", "GateDenied", "web-2", "gate approved is false", status="True")
        assert await stateful.uids() == before
        assert ("Normal", f"Pod web-2 is kept: gate approved is false: {gate['cel']}") in await events(
            stateful, "GateDenied"
        )
        await stateful.change({"metadata": {"labels": {"approved": "yes"}}})
        await stateful.completed("web:2")


async def test_a_cel_gate_sees_all_members(sets):
    async with sets() as stateful:
        await stateful.create(disruption={"gates": [{"name": "quorum", "cel": QUORUM}]})
        await stateful.available(3)
        await stateful.set_image("web:2")
        await stateful.completed("web:2")
        await stateful.change({"spec": {"replicas": 2}})
        await stateful.says("Progressing", "GateDenied", "web-2", "gate quorum is false")
        assert set(await stateful.pods()) == {"web-0", "web-1", "web-2"}


@pytest.mark.parametrize(("failure", "replaced"), [("Deny", False), ("Allow", True)])
async def test_an_expression_that_fails_is_reported_and_decides_as_failure_says(sets, failure, replaced):
    gate = {"name": "zone", "cel": "pod.metadata.annotations.zone == 'a'", "failure": failure}
    async with sets() as stateful:
        await stateful.create(replicas=1, disruption={"gates": [gate]})
        await stateful.available(1)
        await stateful.set_image("web:2")
        if replaced:
            await stateful.completed("web:2", 1)
        else:
            await stateful.says("Progressing", "GateFailed", "web-0", "gate zone cannot be evaluated")
            assert await stateful.images() == {"web-0": "web:1"}

        async def is_reported():
            [(kind, message)] = await events(stateful, "GateFailed")
            assert kind == "Warning"
            assert ("all the same, as failure is Allow" if replaced else "is kept") in message
            return True

        await eventually(is_reported)


async def test_a_gate_by_http_asks_the_member_and_shows_its_answer(sets):
    ready = asyncio.Event()

    async def answer():
        text = "" if ready.is_set() else "3 connections\nare open"
        return web.Response(status=200 if ready.is_set() else 409, text=text)

    async with member_server(answer) as (port, requests), sets() as stateful:
        await stateful.create(replicas=1, disruption=http_gate(port))
        await stateful.available(1)
        await give_addresses(stateful)
        await stateful.change({"spec": {"replicas": 0}})
        await stateful.says("Progressing", "GateDenied", "web-0", "gate drained answered 409: 3 connections are open")
        assert requests[0] == ("/may-stop?pod=web-0", "web-0")
        ready.set()
        await stateful.change({"metadata": {"labels": {"look": "again"}}})
        await stateful.become({})


@pytest.mark.parametrize(
    ("status", "said"), [(503, "answered 503"), (302, "answered 302"), (None, "did not answer within 1 s")]
)
async def test_a_gate_by_http_that_does_not_decide_has_failed(sets, status, said):
    async def answer():
        if status is None:
            await asyncio.Event().wait()
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    async with member_server(answer) as (port, requests), sets() as stateful:
        await stateful.create(replicas=1, disruption=http_gate(port, timeoutSeconds=1))
        await stateful.available(1)
        await give_addresses(stateful)
        await stateful.set_image("web:2")
        await stateful.says("Progressing", "GateFailed", "web-0", f"gate drained {said}")
        assert not [path for path, _ in requests if "elsewhere" in path]


async def test_a_member_that_cannot_start_is_replaced_whatever_a_gate_says(sets):
    async with sets() as stateful:
        await stateful.create(replicas=1)
        await stateful.available(1)
        await stateful.update("web:2", "image-pull-failure")
        await stateful.says("Degraded", "MemberFailing", "web-0")
        await stateful.change({"spec": {"disruption": {"gates": [{"name": "never", "cel": "false"}]}}})
        await stateful.update("web:3")
        await stateful.completed("web:3", 1)


async def test_a_gate_holds_a_change_in_place_that_restarts_containers(sets):
    async with sets() as stateful:
        await stateful.create(
            replicas=1,
            updateStrategy={"rollingUpdate": {"inPlace": "IfPossible"}},
            disruption={"gates": [{"name": "never", "cel": "false"}]},
        )
        await stateful.available(1)
        await stateful.set_image("web:2")
        await stateful.says("Progressing", "GateDenied", "web-0", "gate never is false")
        assert await stateful.images() == {"web-0": "web:1"}


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({"name": "Upper", "cel": "true"}, "spec.disruption.gates[0].name"),
        ({"name": "slow", "cel": "true", "timeoutSeconds": 31}, "spec.disruption.gates[0].timeoutSeconds"),
        ({"name": "redirected", "httpGet": {"port": 80, "path": "elsewhere"}}, "gates[0].httpGet.path"),
    ],
)
async def test_a_gate_that_cannot_be_is_rejected_with_its_field(sets, gate, said):
    async with sets() as stateful:
        with pytest.raises(Invalid, match=said.replace("[", r"\[")):
            await stateful.create(disruption={"gates": [gate]})
