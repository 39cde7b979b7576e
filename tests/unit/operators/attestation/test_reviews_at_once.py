"""Many reviews at the same time: the metadata server and the registry are asked once, and errors are kept for none."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest
from aiohttp import web
from pysequoia import Tsk
from registries import MANIFEST, lying, manifest, serving
from soak.attestation_mutants import GOOD, admission, review

from operatorkit.testing import eventually
from operators.attestation import ClusterImagePolicy, GrafeasServer
from operators.attestation.flights import Flights

COUNT = 50


class Gate:
    """Passes requests on to the metadata server once the test opens it, and counts them."""

    def __init__(self, upstream):
        self.upstream = upstream
        self.open = asyncio.Event()
        self.asked = 0
        self.status = 200

    async def answer(self, request):
        self.asked += 1
        await self.open.wait()
        if self.status != 200:
            return web.Response(status=self.status, text="the test says so")
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.upstream}{request.path_qs}") as answer,
        ):
            return web.Response(body=await answer.read(), content_type="application/json")


@pytest.fixture
async def reviews():
    async with admission(Tsk.generate("qa@example.com")) as (dispatcher, reader):
        (server,) = reader.list(GrafeasServer)
        gate = Gate(server.spec.url)
        async with serving(gate.answer) as host:
            server.spec.url = f"http://{host}"

            async def answers(*, count=COUNT, path="/validate/core/v1/pods", body=None, gate=gate, joins=1):
                """Return the answers of reviews that all wait, for so many look-ups each, before the gate is open."""
                webhook, content = dispatcher.find(path), json.dumps(body or review(GOOD, GOOD, GOOD)).encode()
                gate.open.clear()
                tasks = [asyncio.ensure_future(dispatcher.answer(webhook, content, seconds=5.0)) for _ in range(count)]
                flights = reader.memory(Flights)._under_way
                await eventually(
                    lambda: gate.asked and sum(one.waiting for one in flights.values()) == count * joins,
                    message="all reviews wait",
                )
                gate.open.set()
                return [answer.body["response"] for answer in await asyncio.gather(*tasks)]

            yield gate, reader, answers


async def test_reviews_of_one_image_are_one_request_and_what_it_finds_is_kept(reviews):
    gate, reader, answers = reviews
    assert all(one["allowed"] for one in await answers())
    assert gate.asked == 1
    reader.forget()
    gate.asked = 0
    assert all(one["allowed"] for one in await answers())
    assert gate.asked == 1


async def test_an_error_is_the_answer_to_those_who_wait_and_to_no_later_review(reviews):
    gate, _, answers = reviews
    gate.status = 500
    found = await answers()
    assert gate.asked == 1
    for one in found:
        assert "answered HTTP 500: the test says so" in one["status"]["message"]
    gate.status, gate.asked = 200, 0
    assert all(one["allowed"] for one in await answers(count=1))
    assert gate.asked == 1


async def test_an_image_that_is_not_attested_is_looked_up_once_more_for_those_who_joined(reviews):
    gate, _, answers = reviews
    other = GOOD.replace("ab", "cd")
    found = await answers(body=review(other, GOOD, GOOD), joins=2)
    assert not any(one["allowed"] for one in found)
    assert gate.asked == 3, "once for each digest, and once more for the one that denies"


async def test_one_tag_in_many_reviews_is_one_request_to_its_registry(reviews):
    _, reader, answers = reviews
    (policy,) = reader.list(ClusterImagePolicy)
    policy.spec.tags = "Resolve"
    async with lying() as (host, registry):
        tag = Gate("")

        async def answer(request):
            tag.asked += 1
            await tag.open.wait()
            return web.Response(body=manifest("sha256:" + "a" * 64, 2), headers={"Content-Type": MANIFEST})

        registry.answers["/v2/team/app/manifests/v1"] = answer
        body = review(f"{host}/team/app:v1")
        found = await answers(gate=tag, path="/mutate/core/v1/pods", body=body)
        assert tag.asked == 1
        assert all("patch" in one for one in found)
        tag.asked = 0
        assert len(await answers(count=1, gate=tag, path="/mutate/core/v1/pods", body=body)) == 1
        assert tag.asked == 1, "a tag is not remembered"
