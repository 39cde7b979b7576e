import asyncio
import json
from contextlib import aclosing
from datetime import timedelta

import pytest

from operatorkit import errors
from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.cluster import ClusterConfig, Credentials, Informer, LiveCluster, PatchType
from operatorkit.names import ApiResource
from operatorkit.testing import eventually

POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": "ns", "resourceVersion": "7"}}


def frame(kind, obj):
    return json.dumps({"type": kind, "object": obj}).encode() + b"\n"


@pytest.mark.parametrize("given", ["merge", "MERGE", "application/merge-patch+json", PatchType.MERGE])
def test_a_type_of_patch_has_a_short_name(given):
    assert PatchType(given) is PatchType.MERGE


@pytest.mark.parametrize("given", ["", "smerge", None, 5])
async def test_what_is_no_type_of_patch_is_rejected_with_those_there_are(given):
    pods = ApiResource("", "v1", "Pod", "pods", namespaced=True)
    async with LiveCluster(ClusterConfig(server="http://127.0.0.1:1")) as api:
        with pytest.raises(TypeError, match=r"patch_type=.* or one of json, merge, strategic, apply"):
            await api.patch(pods, "a", {}, patch_type=given, namespace="ns")


async def events(watch):
    async with aclosing(watch) as stream:
        return [event async for event in stream]


@pytest.mark.parametrize(
    ("call", "method", "path", "body"),
    [
        (lambda api, pods: api.get(pods, "a", namespace="ns"), "GET", "/api/v1/namespaces/ns/pods/a", None),
        (
            lambda api, pods: api.get(pods, "a", namespace="ns", subresource="status"),
            "GET",
            "/api/v1/namespaces/ns/pods/a/status",
            None,
        ),
        (
            lambda api, pods: api.create(pods, POD, field_manager="me", dry_run=True),
            "POST",
            "/api/v1/namespaces/ns/pods?fieldManager=me&dryRun=All",
            POD,
        ),
        (
            lambda api, pods: api.create(pods, {"kind": "Eviction"}, namespace="ns", name="a", subresource="eviction"),
            "POST",
            "/api/v1/namespaces/ns/pods/a/eviction",
            {"kind": "Eviction"},
        ),
        (lambda api, pods: api.replace(pods, "a", POD, namespace="ns"), "PUT", "/api/v1/namespaces/ns/pods/a", POD),
        (
            lambda api, pods: api.patch(
                pods, "a", POD, patch_type=PatchType.APPLY, namespace="ns", field_manager="me", force=True
            ),
            "PATCH",
            "/api/v1/namespaces/ns/pods/a?fieldManager=me&force=true",
            POD,
        ),
        (lambda api, pods: api.delete(pods, "a", namespace="ns"), "DELETE", "/api/v1/namespaces/ns/pods/a", None),
        (
            lambda api, pods: api.delete(
                pods,
                "a",
                namespace="ns",
                propagation="Foreground",
                grace_period_seconds=0,
                uid="u",
                resource_version="3",
            ),
            "DELETE",
            "/api/v1/namespaces/ns/pods/a",
            {
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "propagationPolicy": "Foreground",
                "gracePeriodSeconds": 0,
                "preconditions": {"uid": "u", "resourceVersion": "3"},
            },
        ),
    ],
)
async def test_each_verb_is_the_request_that_kubernetes_documents(api, server, given, pods, call, method, path, body):
    server.answers(given.answer(POD))
    await call(api, pods)
    assert server.requests == [(method, path)]
    assert (json.loads(server.bodies[0]) if server.bodies[0] else None) == body


async def test_a_list_gives_its_items_their_kind_and_the_token_of_the_next_page(api, server, given, pods):
    page = {"metadata": {"resourceVersion": "9", "continue": "t"}, "items": [{"metadata": {"name": "a"}}]}
    server.answers(given.answer(page))
    got = await api.list(pods, namespace="ns", label_selector="a=b,c", field_selector="x=y", limit=1)
    assert server.requests[0][1] == "/api/v1/namespaces/ns/pods?labelSelector=a%3Db%2Cc&fieldSelector=x%3Dy&limit=1"
    assert (got.resource_version, got.continue_token) == ("9", "t")
    assert got.items == [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}]


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a%2fb"])
async def test_a_name_that_would_be_another_path_is_rejected_before_it_is_sent(api, server, pods, name):
    with pytest.raises(ValueError, match="is not a name"):
        await api.get(pods, name, namespace="ns")
    assert server.requests == []


async def test_a_namespaced_kind_needs_a_namespace(api, pods):
    with pytest.raises(ValueError, match="Pod is a namespaced kind"):
        await api.get(pods, "a")
    with pytest.raises(ValueError, match="needs a namespace"):
        await api.create(pods, {"metadata": {"name": "a"}})


async def test_a_closed_client_says_how_to_open_it(pods):
    api = LiveCluster(ClusterConfig(server="http://127.0.0.1:1"))
    with pytest.raises(RuntimeError, match="async with LiveCluster"):
        await api.get(pods, "a", namespace="ns")


async def test_throttled_requests_wait_as_long_as_the_server_asks_even_if_they_write(api, server, given, pods, clock):
    server.answers(given.answer("slow down", 429, Retry_After="3"), given.answer(POD))
    assert await api.create(pods, POD) == POD
    assert len(server.requests) == 2
    assert [round(seconds) for seconds in clock.slept] == [3]


async def test_a_server_that_asks_for_too_long_a_wait_is_an_error_at_once(api, server, given, pods, clock):
    server.answers(given.answer("later", 429, Retry_After="3600"))
    with pytest.raises(errors.Throttled) as caught:
        await api.get(pods, "a", namespace="ns")
    assert caught.value.retry_after_seconds == 3600
    assert clock.slept == []


async def test_an_eviction_that_a_budget_holds_back_is_not_repeated(api, server, given, pods):
    budget = {"reason": "DisruptionBudget", "message": "The disruption budget x needs 1 healthy pods"}
    server.answers(given.status(429, "TooManyRequests", causes=[budget]))
    with pytest.raises(errors.Throttled):
        await api.create(pods, {}, namespace="ns", name="a", subresource="eviction")
    assert len(server.requests) == 1


@pytest.mark.parametrize("code", [500, 502, 503, 504])
async def test_reads_and_applies_are_repeated_after_a_server_error(api, server, given, pods, code, clock):
    server.answers(given.status(code, ""), given.answer(POD), given.status(code, ""), given.answer(POD))
    await api.get(pods, "a", namespace="ns")
    await api.patch(pods, "a", POD, patch_type=PatchType.APPLY, namespace="ns", field_manager="me")
    assert len(server.requests) == 4
    assert len(clock.slept) == 2


@pytest.mark.parametrize(
    "write",
    [
        lambda api, pods: api.create(pods, POD),
        lambda api, pods: api.replace(pods, "a", POD, namespace="ns"),
        lambda api, pods: api.patch(pods, "a", [], patch_type=PatchType.JSON, namespace="ns"),
        lambda api, pods: api.delete(pods, "a", namespace="ns"),
    ],
)
async def test_other_writes_are_not_repeated_after_a_server_error(api, server, given, pods, write):
    server.answers(given.status(500, "InternalError"))
    with pytest.raises(errors.ClusterError):
        await write(api, pods)
    assert len(server.requests) == 1


async def test_a_write_whose_connection_broke_is_not_repeated_since_it_may_have_happened(api, server, given, pods):
    server.answers(given.drop)
    with pytest.raises(errors.Unreachable, match="broke before the answer"):
        await api.create(pods, POD)
    with pytest.raises(errors.Unreachable):
        await api.patch(pods, "a", [], patch_type=PatchType.JSON, namespace="ns")
    assert len(server.requests) == 2


async def test_a_kept_connection_that_turns_out_closed_does_not_fail_a_replace(api, server, given, pods):
    server.answers(given.answer(POD), given.drop, given.answer(POD))
    await api.get(pods, "a", namespace="ns")
    assert await api.replace(pods, "a", POD, namespace="ns") == POD


async def test_a_lasting_error_is_given_up_after_a_few_tries(api, server, given, pods):
    server.answers(given.status(503, "ServiceUnavailable"))
    with pytest.raises(errors.ClusterError) as caught:
        await api.get(pods, "a", namespace="ns")
    assert (caught.value.code, len(server.requests)) == (503, 4)


async def test_a_connection_that_breaks_is_made_again_for_a_read(api, server, given, pods):
    server.answers(given.answer(POD), given.drop, given.drop, given.answer(POD))
    await api.get(pods, "a", namespace="ns")
    assert await api.get(pods, "a", namespace="ns") == POD


async def test_an_answer_that_is_not_json_is_an_error_that_shows_it(api, server, given, pods):
    server.answers(given.answer("<html>hello</html>"))
    with pytest.raises(errors.ClusterError, match="check that this is the address of a Kubernetes API"):
        await api.get(pods, "a", namespace="ns")


async def test_any_request_returns_json_or_text(api, server, given):
    server.answers(given.answer("ok"), given.answer({"major": "1"}))
    assert await api.request("get", "/healthz") == "ok"
    assert await api.request("GET", "/version", query={"timeout": "1s"}) == {"major": "1"}
    assert server.requests == [("GET", "/healthz"), ("GET", "/version?timeout=1s")]


async def test_a_large_body_is_sent_again_whole(api, server, given, pods):
    large = {**POD, "data": "x" * 2_000_000}
    server.answers(given.answer("slow down", 429, Retry_After="0"), given.answer(POD))
    await api.create(pods, large)
    assert [json.loads(body) for body in server.bodies] == [large, large]


async def test_a_body_of_text_or_bytes_is_sent_as_it_is(api, server, given):
    server.answers(given.answer("ok"))
    await api.request("POST", "/x", body="a: 1", headers={"Content-Type": "application/yaml"})
    await api.request("POST", "/x", body=b"a: 2", headers={"Content-Type": "application/yaml"})
    assert server.bodies == [b"a: 1", b"a: 2"]
    assert server.headers[0]["Content-Type"] == "application/yaml"


async def test_a_warning_of_the_server_is_handed_on_once(server, given, pods):
    warnings = []
    server.answers(given.answer(POD, Warning='299 - "v1 Pod is \\"old\\""'))
    async with LiveCluster(ClusterConfig(server=server.url), warn=warnings.append) as api:
        await api.get(pods, "a", namespace="ns")
        await api.get(pods, "a", namespace="ns")
    assert warnings == ['v1 Pod is "old"']


async def test_every_request_is_observed_even_without_an_answer(server, given, pods, clock):
    seen = []
    server.answers(given.answer(POD), given.drop, given.stream(frame("ADDED", POD)))
    async with LiveCluster(ClusterConfig(server=server.url), clock=clock, observe=seen.append) as api:
        await api.get(pods, "a", namespace="ns")
        with pytest.raises(errors.Unreachable):
            await api.create(pods, POD)
        await events(api.watch(pods, resource_version="1", namespace="ns"))
    assert [(each.method, each.path, each.code) for each in seen] == [
        ("GET", "/api/v1/namespaces/ns/pods/a", 200),
        ("POST", "/api/v1/namespaces/ns/pods", 0),
        ("GET", "/api/v1/namespaces/ns/pods", 200),
    ]
    assert seen[2].query["watch"] == "1"


async def test_requests_in_flight_are_bounded_and_watches_are_not_counted(server, given, pods):
    release = asyncio.Event()

    async def slow(request):
        if "watch" in request.query:
            return await given.stream(frame("ADDED", POD), then="hang")(request)
        await release.wait()
        return await given.answer(POD)(request)

    server.answers(slow)
    async with (
        LiveCluster(ClusterConfig(server=server.url), max_requests_in_flight=3) as api,
        asyncio.TaskGroup() as group,
        aclosing(api.watch(pods, resource_version="1")) as watch,
    ):
        await anext(watch)
        gets = [group.create_task(api.get(pods, "a", namespace="ns")) for _ in range(10)]
        await eventually(lambda: server.running == 4)
        release.set()
        await asyncio.gather(*gets)
    assert server.most_running == 4


async def test_watches_that_wait_for_their_first_byte_do_not_hold_up_requests(server, given, pods):
    async def answer(request):
        if "watch" in request.query:
            await asyncio.Event().wait()
        return await given.answer(POD)(request)

    server.answers(answer)
    async with LiveCluster(ClusterConfig(server=server.url), max_requests_in_flight=2) as api:
        watches = [asyncio.ensure_future(anext(api.watch(pods, resource_version="1"))) for _ in range(5)]
        await eventually(lambda: server.running == 5)
        assert await asyncio.wait_for(api.get(pods, "a", namespace="ns"), 60) == POD
        for watch in watches:
            watch.cancel()
        await asyncio.gather(*watches, return_exceptions=True)


async def test_a_rejected_token_is_loaded_again_once(server, given, pods):
    tokens = iter(["fresh"])
    credentials = Credentials(
        (("Authorization", "Bearer stale"),), lambda: ((("Authorization", f"Bearer {next(tokens)}"),), None)
    )
    server.answers(given.status(401, "Unauthorized", "Unauthorized"), given.answer(POD))
    async with LiveCluster(ClusterConfig(server=server.url, credentials=credentials)) as api:
        assert await api.get(pods, "a", namespace="ns") == POD
        await api.get(pods, "a", namespace="ns")
    assert [headers["Authorization"] for headers in server.headers] == ["Bearer stale", "Bearer fresh", "Bearer fresh"]


@pytest.mark.parametrize("size", [10, 2_000_000])
async def test_a_write_with_a_rejected_token_is_sent_again_whole(server, given, pods, size):
    credentials = Credentials((), lambda: ((("Authorization", "Bearer fresh"),), None))
    server.answers(given.status(401, "Unauthorized"), given.answer(POD))
    body = {**POD, "data": "x" * size}
    async with LiveCluster(ClusterConfig(server=server.url, credentials=credentials)) as api:
        await api.create(pods, body)
    assert [json.loads(sent) for sent in server.bodies] == [body, body]


async def test_a_token_that_stays_rejected_says_whose_it_is(server, given, pods):
    same = (("Authorization", "Bearer stale"),)
    config = ClusterConfig(
        server=server.url, credentials=Credentials(same, lambda: (same, None)), origin="context c of file f"
    )
    server.answers(given.status(401, "Unauthorized", "Unauthorized"))
    async with LiveCluster(config) as api:
        with pytest.raises(errors.Unauthorized, match="credentials of context c of file f"):
            await api.get(pods, "a", namespace="ns")
    assert len(server.requests) == 1


async def test_a_rejected_token_that_cannot_be_loaded_again_is_an_error_of_the_request(server, given, pods, caplog):
    def load():
        raise errors.InputError("the token file is gone")

    config = ClusterConfig(server=server.url, credentials=Credentials((("Authorization", "Bearer stale"),), load))
    server.answers(given.status(401, "Unauthorized"))
    async with LiveCluster(config) as api:
        with pytest.raises(errors.Unauthorized):
            await api.get(pods, "a", namespace="ns")
    assert "the token file is gone" in caplog.text


async def test_credentials_are_loaded_again_when_they_are_old(server, given, pods, clock):
    loads = []

    def load():
        loads.append(clock.monotonic())
        return (("Authorization", f"Bearer {len(loads)}"),), 10

    credentials = Credentials((("Authorization", "Bearer 0"),), load, good_for_seconds=10)
    server.answers(given.answer(POD))
    async with LiveCluster(ClusterConfig(server=server.url, credentials=credentials), clock=clock) as api:
        for pause in (0, 9, 1, 5):
            await clock.sleep(pause)
            await api.get(pods, "a", namespace="ns")
    assert [headers["Authorization"][-1] for headers in server.headers] == ["0", "0", "1", "1"]


async def test_a_watch_yields_events_of_any_size_however_they_are_cut(api, server, given, pods):
    huge = {**POD, "data": "x" * 1_500_000}
    whole = frame("ADDED", huge) + b"\n" + frame("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
    server.answers(given.stream(*(whole[at : at + 100_001] for at in range(0, len(whole), 100_001))))
    got = await events(api.watch(pods, resource_version="5", namespace="ns", label_selector="a=b", timeout_seconds=30))
    assert [(event.type, event.object["metadata"]["resourceVersion"]) for event in got] == [
        ("ADDED", "7"),
        ("BOOKMARK", "9"),
    ]
    assert got[0].object["data"] == huge["data"]
    assert server.requests[0][1].endswith("?watch=1&allowWatchBookmarks=true&resourceVersion=5&timeoutSeconds=30&labelSelector=a%3Db")  # fmt: skip


async def test_an_error_event_is_raised_as_what_it_means(api, server, given, pods):
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version: 5 (9)"}
    server.answers(given.stream(frame("ADDED", POD), frame("ERROR", gone)), given.status(410, "Expired"))
    for _ in range(2):
        with pytest.raises(errors.Gone):
            await events(api.watch(pods, resource_version="5"))


@pytest.mark.parametrize("line", [b"{nonsense}\n", b"[]\n", b'{"type":"ADDED"}\n', b'{"type":"NEW","object":{}}\n'])
async def test_a_frame_that_cannot_be_read_is_an_error_that_shows_it(api, server, given, pods, line):
    server.answers(given.stream(line))
    with pytest.raises(errors.ClusterError) as caught:
        await events(api.watch(pods, resource_version="5"))
    assert caught.value.reason == "UnreadableFrame"


async def test_a_truncated_last_line_is_dropped_when_the_watch_ends_and_an_error_when_it_breaks(
    api, server, given, pods
):
    half = frame("ADDED", POD)[:20]
    server.answers(given.stream(frame("ADDED", POD), half), given.stream(half, then="break"))
    assert len(await events(api.watch(pods, resource_version="5"))) == 1
    with pytest.raises(errors.Unreachable):
        await events(api.watch(pods, resource_version="5"))


async def test_a_watch_that_is_silent_for_too_long_is_given_up(server, given, pods):
    server.answers(given.stream(frame("ADDED", POD), then="hang"))
    config = ClusterConfig(server=server.url)
    async with LiveCluster(config, watch_idle_timeout=timedelta(milliseconds=300)) as api:
        with pytest.raises(errors.Timeout):
            await events(api.watch(pods, resource_version="5"))


async def test_a_request_without_an_answer_times_out(server, given, pods):
    async def never(request):
        await asyncio.Event().wait()

    server.answers(never)
    async with LiveCluster(ClusterConfig(server=server.url), request_timeout=timedelta(seconds=1)) as api:
        with pytest.raises(errors.Timeout, match="/api/v1/namespaces/ns/pods/a/binding: no answer in time"):
            await api.create(pods, POD, namespace="ns", name="a", subresource="binding")


@pytest.mark.parametrize("verb", ["get", "list", "watch", "apply"])
async def test_a_cancelled_request_leaves_no_open_connection(api, server, given, pods, verb):
    async def hang(request):
        return await given.stream(b'{"kind":', then="hang")(request)

    server.answers(hang)
    call = {
        "get": lambda: api.get(pods, "a", namespace="ns"),
        "list": lambda: api.list(pods),
        "watch": lambda: events(api.watch(pods, resource_version="1")),
        "apply": lambda: api.patch(
            pods, "a", POD, patch_type=PatchType.APPLY, namespace="ns", field_manager="me"
        ),
    }[verb]  # fmt: skip
    task = asyncio.ensure_future(call())
    await eventually(lambda: server.running == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await eventually(lambda: server.connections == 0)


async def test_cancelling_after_any_number_of_turns_of_the_loop_leaves_nothing_behind(server, given, pods):
    """Connecting, sending, waiting, reading, retrying, listing, watching: each is interrupted at every await."""

    def handler(request):
        if "watch" in request.query:
            return given.stream(frame("ADDED", POD), then="hang")(request)
        if request.path.endswith("/a"):
            return given.answer("slow down", 429, Retry_After="0")(request)
        return given.answer({"metadata": {"resourceVersion": "7"}, "items": [POD]})(request)

    server.answers(handler)
    endings = set()
    for turns in range(0, 90, 2):
        async with LiveCluster(ClusterConfig(server=server.url)) as api:
            informer = Informer(api, pods, clock=SYSTEM_CLOCK)
            tasks = [
                asyncio.ensure_future(informer.run()),
                asyncio.ensure_future(api.get(pods, "a", namespace="ns")),
                asyncio.ensure_future(api.resolve("", "Pod")),
            ]
            for _ in range(turns):
                await asyncio.sleep(0)
            endings.add((informer.has_synced, len(informer.cache)))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await eventually(lambda api=api: not api.session.connector._acquired)
    await eventually(lambda: server.connections == 0)
    assert {(False, 0), (True, 1)} <= endings, "the turns must reach from the first await to the watch"


async def test_leaving_the_client_ends_its_watches(server, given, pods):
    server.answers(given.stream(frame("ADDED", POD), then="hang"))
    async with LiveCluster(ClusterConfig(server=server.url)) as api:
        watch = api.watch(pods, resource_version="1")
        await anext(watch)
    await eventually(lambda: server.connections == 0)
    with pytest.raises(errors.Unreachable):
        await anext(watch)


async def test_a_session_that_was_closed_is_replaced(api, server, given, pods):
    server.answers(given.stream(frame("ADDED", POD), then="hang"), given.answer(POD))
    watch = api.watch(pods, resource_version="1")
    await anext(watch)
    await api.session.close()
    with pytest.raises(errors.Unreachable, match="the session was closed"):
        await anext(watch)
    assert await api.get(pods, "a", namespace="ns") == POD


async def test_the_session_can_be_shared_and_carries_credentials_and_limits(server, given):
    credentials = Credentials((("Authorization", "Bearer t"),))
    config = ClusterConfig(server=server.url, credentials=credentials)
    server.answers(given.answer({"ok": True}))
    async with (
        LiveCluster(config, user_agent="my-operator/1") as api,
        api.session.get(f"{server.url}/apis", headers={"Accept": "text/plain"}) as response,
    ):
        assert await response.json() == {"ok": True}
    assert server.headers[0]["Authorization"] == "Bearer t"
    assert server.headers[0]["User-Agent"] == "my-operator/1"
    assert server.headers[0]["Accept"] == "text/plain"
