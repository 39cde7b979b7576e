"""Twenty and more hostile requests, over TLS: each is refused, none is admitted, and the server answers the next."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
from contextlib import asynccontextmanager
from datetime import timedelta

import aiohttp
import pytest
import pytest_asyncio

from operatorkit import Allowed, Operator
from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.testing import eventually
from operatorkit.webhooks.certificates import renewed
from operatorkit.webhooks.server import MAX_BODY_BYTES, WebhookServer

JSON = {"Content-Type": "application/json"}


def trusting(bundle):
    return ssl.create_default_context(cadata=bundle.ca_pem.decode())


@pytest.fixture
def calls():
    return []


@pytest.fixture
def gate():
    """Let functions answer; a test may hold them back."""
    gate = asyncio.Event()
    gate.set()
    return gate


@pytest_asyncio.fixture
async def served(reviews, calls, gate):
    app = Operator("things")

    @app.validate(reviews.Thing, timeout=timedelta(seconds=30))
    async def validate(new, old, request):
        calls.append(request)
        await gate.wait()
        return Allowed()

    seen: list[tuple[str, int, float]] = []
    server = WebhookServer(app.webhooks, reviewed=lambda *review: seen.append(review))
    server.seen = seen
    bundle = renewed(None, ["127.0.0.1"], SYSTEM_CLOCK.now())
    server.use(bundle.cert_pem, bundle.key_pem)
    await server.start()
    server.bundle = bundle
    server.path = app.webhooks[0].path
    yield server
    await server.stop()


@asynccontextmanager
async def session(server, bundle=None):
    connector = aiohttp.TCPConnector(ssl=trusting(bundle or server.bundle))
    async with aiohttp.ClientSession(f"https://127.0.0.1:{server.port}", connector=connector) as client:
        yield client


async def post(server, body, *, path=None, headers=JSON, method="POST", query="?timeout=30s"):
    async with (
        session(server) as client,
        client.request(method, (path or server.path) + query, data=body, headers=headers) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def test_a_good_review_is_answered(served, reviews, calls):
    status, body = await post(served, json.dumps(reviews.review(reviews.thing())).encode())
    assert (status, body["response"]["allowed"]) == (200, True)
    assert len(calls) == 1


async def test_requests_to_a_webhook_are_counted_by_status_and_those_to_other_paths_are_not(served, reviews, gate):
    gate.clear()
    review = json.dumps(reviews.review(reviews.thing())).encode()
    running = asyncio.ensure_future(post(served, review))
    await eventually(lambda: served.in_flight == {served.path: 1})
    gate.set()
    await running
    assert served.in_flight == {served.path: 0}
    await post(served, b"", path="/anything")
    await post(served, b"no review")
    [(path, code, seconds), (_, second, _)] = served.seen
    assert (path, code, second) == (served.path, 200, 400)
    assert seconds > 0


def _changed(**request):
    def change(review):
        review["request"] |= request
        return review

    return change


def _top(**top):
    return lambda review: review | top


def _nested(review):
    text = json.dumps(review)
    return text.replace('"unknown": [1]', '"unknown": ' + "[" * 10_000 + "]" * 10_000).encode()


def _other(obj, **metadata):
    return {**obj, "metadata": {**obj["metadata"], **metadata}}


HOSTILE = {
    "truncated": lambda review: json.dumps(review).encode()[:-9],
    "empty": lambda review: b"",
    "a list": lambda review: b"[]",
    "null": lambda review: b"null",
    "two documents": lambda review: json.dumps(review).encode() * 2,
    "wrong version": _top(apiVersion="admission.k8s.io/v1beta1"),
    "wrong kind": _top(kind="ConversionReview"),
    "no request": _top(request=None),
    "answered already": _top(response={"uid": "x", "allowed": True}),
    "a repeated key": lambda review: json.dumps(review).replace('"uid"', '"uid": "other", "uid"', 1).encode(),
    "a repeated key deep inside": lambda review: json.dumps(review).replace('"a": 1', '"a": 1, "a": 2', 1).encode(),
    "10,000 levels": _nested,
    "10,000 levels of nothing": lambda review: b"[" * 10_000,
    "no uid": _changed(uid=""),
    "uid is a number": _changed(uid=7),
    "a uid without end": _changed(uid="x" * 10_000),
    "objects of different uids": lambda review: _changed(
        operation="UPDATE", oldObject=_other(review["request"]["object"], uid="u-2")
    )(review),
    "another name": _changed(name="b"),
    "another namespace": _changed(namespace="kube-system"),
    "object of another kind": lambda review: _changed(object={**review["request"]["object"], "kind": "Secret"})(review),
    "no object": _changed(object=None),
    "object is text": _changed(object="x"),
    "update without the old object": _changed(operation="UPDATE"),
    "unknown operation": _changed(operation="ADMIT"),
    "operation is a list": _changed(operation=["CREATE"]),
    "dry run is text": _changed(dryRun="false"),
    "groups are text": _changed(userInfo={"groups": "system:masters"}),
    "not UTF-8": lambda review: json.dumps(review).encode("utf-16"),
    "NaN": lambda review: json.dumps(review).replace('"a": 1', '"a": NaN', 1).encode(),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_review_is_rejected(served, reviews, calls, name):
    body = HOSTILE[name](reviews.review(reviews.thing()))
    status, answer = await post(served, body if isinstance(body, bytes) else json.dumps(body).encode())
    assert status == 400
    assert (answer["kind"], answer["status"], answer["reason"]) == ("Status", "Failure", "BadRequest")
    assert 10 < len(answer["message"]) < 400
    assert calls == []
    status, answer = await post(served, json.dumps(reviews.review(reviews.thing())).encode())
    assert answer["response"]["allowed"] is True


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"headers": {"Content-Type": "text/plain"}}, 415),
        ({"headers": {"Content-Type": "application/x-www-form-urlencoded"}}, 415),
        ({"headers": {**JSON, "Content-Encoding": "gzip"}, "zipped": True}, 415),
        ({"method": "GET"}, 405),
        ({"method": "PUT"}, 405),
        ({"path": "/"}, 404),
        ({"path": "/validate/example.io/v1/things/"}, 404),
        ({"path": "/mutate/example.io/v1/things"}, 404),
        ({"path": "/validate/example.io/v1/Things"}, 404),
        ({"query": "?timeout=soon"}, 400),
        ({"query": "?timeout=0s"}, 400),
        ({"query": "?timeout=-5s"}, 400),
        ({"query": f"?timeout={'9' * 400}s"}, 400),
        ({"query": f"?timeout={'9' * 3_000}h"}, 400),
    ],
)
async def test_what_is_not_sent_as_a_review_is_rejected(served, reviews, calls, options, status):
    body = json.dumps(reviews.review(reviews.thing())).encode()
    if options.pop("zipped", False):
        body = gzip.compress(body)
    found, answer = await post(served, body, **options)
    assert (found, answer["code"]) == (status, status)
    assert calls == []


async def raw(server, *parts):
    """Send bytes, wait for the server to close, and return what it said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trusting(server.bundle))
    try:
        for part in parts:
            writer.write(part)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), 60)
    except ConnectionError:
        return b""
    finally:
        writer.transport.abort()


def head(path, length):
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


@pytest.mark.parametrize(
    "trick",
    ["//validate/example.io/v1/things", "/validate/example.io/v1/../v1/things", "/validate%2fexample.io/v1/things"],
)
async def test_a_path_is_taken_as_it_is_written(served, calls, trick):
    answer = await raw(served, head(trick, 2), b"{}")
    assert answer.startswith(b"HTTP/1.1 404")
    assert calls == []


async def test_ten_megabytes_are_rejected_before_they_are_read(served, calls):
    answer = await raw(served, head(served.path, 10_000_000))  # and not a byte of them
    assert answer.startswith(b"HTTP/1.1 413")
    assert calls == []


async def test_ten_megabytes_that_were_not_announced_are_rejected_on_the_way(served, calls):
    async def chunks():
        for _ in range(10):
            yield b"x" * 1_000_000

    assert MAX_BODY_BYTES < 10_000_000
    try:
        status, _ = await post(served, chunks())
    except aiohttp.ClientError:
        status = 413  # it hung up while we were sending
    assert status == 413
    assert calls == []


async def test_a_body_that_comes_too_slowly_is_not_waited_for(served, calls):
    answer = await raw(served, head(served.path + "?timeout=1s", 5000), b'{"apiVersion"')
    assert answer.startswith(b"HTTP/1.1 408")
    assert calls == []


async def test_the_deadline_of_the_api_server_is_kept(served, reviews, gate):
    gate.clear()
    status, body = await post(served, json.dumps(reviews.review(reviews.thing())).encode(), query="?timeout=1s")
    assert (status, body["response"]["allowed"], body["response"]["status"]["code"]) == (200, False, 504)


async def test_another_certificate_is_presented_from_the_next_connection_on(served, reviews):
    review = json.dumps(reviews.review(reviews.thing())).encode()
    other = renewed(None, ["127.0.0.1"], SYSTEM_CLOCK.now())
    async with session(served) as old:
        async with old.post(served.path, data=review, headers=JSON) as answer:
            assert answer.status == 200
        served.use(other.cert_pem, other.key_pem)
        async with old.post(served.path, data=review, headers=JSON) as answer:  # the connection that is open goes on
            assert answer.status == 200
    async with session(served, other) as new, new.post(served.path, data=review, headers=JSON) as answer:
        assert answer.status == 200
    with pytest.raises(aiohttp.ClientConnectorCertificateError):
        await post(served, review)


async def test_a_key_that_does_not_fit_leaves_the_one_in_use(served, reviews):
    other = renewed(None, ["127.0.0.1"], SYSTEM_CLOCK.now())
    with pytest.raises(ssl.SSLError):
        served.use(other.cert_pem, served.bundle.key_pem)
    status, _ = await post(served, json.dumps(reviews.review(reviews.thing())).encode())
    assert status == 200


async def test_stopping_answers_what_was_asked(served, reviews, gate, calls):
    gate.clear()
    asked = asyncio.create_task(post(served, json.dumps(reviews.review(reviews.thing())).encode()))
    await eventually(lambda: bool(calls), message="the call")
    stopping = asyncio.create_task(served.stop())
    await asyncio.sleep(0)
    gate.set()
    status, body = await asked
    assert (status, body["response"]["allowed"]) == (200, True)
    await stopping


async def test_large_reviews_wait_for_their_turn_and_small_ones_pass_them(served, reviews, gate, calls):
    """What is in memory is bounded also while functions take their time."""
    gate.clear()
    large = json.dumps(reviews.review(reviews.thing(padding="x" * 100_000))).encode()
    asked = [asyncio.create_task(post(served, large, query="?timeout=30s")) for _ in range(12)]
    await eventually(lambda: len(calls) == 8, message="as many as may be in memory")
    small = asyncio.create_task(
        post(served, json.dumps(reviews.review(reviews.thing())).encode(), query="?timeout=30s")
    )
    await eventually(lambda: len(calls) == 9, message="the small one")
    assert sum("padding" in call.object["spec"] for call in calls) == 8
    gate.set()
    statuses = [status for status, _ in await asyncio.gather(*asked, small)]
    assert statuses.count(200) >= 9
    assert set(statuses) <= {200, 408}  # a busy machine may let the turn of some come too late


async def test_a_large_review_whose_turn_does_not_come_is_rejected_in_time(served, reviews, gate, calls):
    gate.clear()
    large = json.dumps(reviews.review(reviews.thing(padding="x" * 100_000))).encode()
    asked = [asyncio.create_task(post(served, large, query="?timeout=30s")) for _ in range(8)]
    await eventually(lambda: len(calls) == 8, message="as many as may be in memory")
    status, answer = await post(served, large, query="?timeout=200ms")
    assert (status, answer["reason"]) == (408, "Timeout")
    gate.set()
    await asyncio.gather(*asked)


async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_behind(served, reviews):
    other = WebhookServer([], port=served.port)
    other.use(served.bundle.cert_pem, served.bundle.key_pem)
    with pytest.raises(OSError, match="in use"):
        await other.start()
    await other.stop()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has one family of addresses")
async def test_every_address_of_both_families_is_served_on_one_port(served):
    everywhere = WebhookServer([], host=None)
    everywhere.use(served.bundle.cert_pem, served.bundle.key_pem)
    await everywhere.start()
    try:
        for host in ("127.0.0.1", "::1"):
            _, writer = await asyncio.open_connection(
                host, everywhere.port, ssl=trusting(served.bundle), server_hostname="127.0.0.1"
            )
            writer.transport.abort()
    finally:
        await everywhere.stop()


async def test_what_is_no_http_is_rejected_without_filling_the_log(served, caplog):
    assert (await raw(served, b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n")).startswith(b"HTTP/1.0 400 ")
    errors = [it for it in caplog.records if it.levelname == "ERROR"]
    assert [it for it in errors if it.name.startswith(("aiohttp", "operatorkit"))] == []
