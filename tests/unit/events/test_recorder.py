"""What the event recorder promises, against a store of Events that behaves as the API server's does."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.events.store import CERTIFICATE, POD, EventStore, HeldClock, recorder_of, warning

from operatorkit.errors import (
    Forbidden,
    Timeout,
)
from operatorkit.events import Reference


async def test_the_same_occurrence_twice_is_one_object_that_counts(store, clock):
    recorder = recorder_of(store, clock)
    await recorder.warning(POD, "Denied", "ask for app1", related=CERTIFICATE)
    clock.seconds += 5
    await recorder.warning(POD, "Denied", "ask for app1", related=CERTIFICATE)
    (event,) = store.events.values()
    assert event["count"] == event["series"]["count"] == 2
    assert event["involvedObject"] == {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": "team",
        "name": "web-0",
        "uid": "pod-uid",
    }
    assert event["firstTimestamp"] == "2026-01-01T00:00:00Z"
    assert event["lastTimestamp"] == "2026-01-01T00:00:05Z"
    assert event["eventTime"] == "2026-01-01T00:00:00.000000Z"
    assert event["related"]["uid"] == "cert-uid"
    assert (event["reportingComponent"], event["source"]["component"], event["action"]) == ("pki", "pki", "Reconcile")


async def test_a_restarted_recorder_counts_on_and_keeps_the_first_time(store, clock):
    await recorder_of(store, clock).warning(POD, "Denied", "ask for app1")
    clock.seconds += 60
    await recorder_of(store, clock, "pki-1").warning(POD, "Denied", "ask for app1")
    (event,) = store.events.values()
    assert (event["count"], event["reportingInstance"]) == (2, "pki-1")
    assert event["firstTimestamp"] == "2026-01-01T00:00:00Z"


async def test_a_key_joins_messages_that_differ_and_shows_the_last(store, clock):
    recorder = recorder_of(store, clock)
    await recorder.warning(POD, "RetryScheduled", "next attempt at 10:00", key="retry")
    await recorder.warning(POD, "RetryScheduled", "next attempt at 10:05", key="retry")
    assert store.counts() == {"next attempt at 10:05": 2}


async def test_an_event_that_the_server_dropped_comes_back_with_its_count(store, clock):
    recorder = recorder_of(store, clock)
    await recorder.record(warning())
    store.events.clear()
    await recorder.record(warning())
    assert store.counts() == {"ask for app1": 2}


async def test_a_change_by_another_process_is_added_to_and_not_overwritten(store, clock):
    one, two = recorder_of(store, clock), recorder_of(store, clock, "pki-1")
    await one.record(warning())
    await two.record(warning())
    await one.record(warning())
    assert store.counts() == {"ask for app1": 3}


async def test_after_the_burst_writes_stop_and_the_count_stays_true(store, clock):
    recorder = recorder_of(store, clock)
    for _ in range(100):
        await recorder.record(warning())
    assert store.writes == 25
    clock.seconds += 300
    await recorder.refresh()
    assert store.writes == 26
    assert store.counts() == {"ask for app1": 100}


async def test_one_noisy_subject_does_not_silence_another(store, clock):
    recorder = recorder_of(store, clock)
    for _ in range(50):
        await recorder.record(warning())
    await recorder.record(warning("hear me", regarding=CERTIFICATE))
    assert store.counts()["hear me"] == 1


async def test_the_tenth_distinct_message_of_a_reason_is_combined(store, clock):
    recorder = recorder_of(store, clock)
    for number in range(12):
        await recorder.record(warning(f"message {number}"))
    counts = store.counts()
    assert len(counts) == 10
    assert counts["(combined from similar events): message 11"] == 3


async def test_distinct_messages_are_combined_within_ten_minutes_only(store, clock):
    recorder = recorder_of(store, clock)
    for number in range(12):
        clock.seconds += 601
        await recorder.record(warning(f"message {number}"))
    assert len(store.counts()) == 12


async def test_a_held_notice_is_recorded_once_however_often_it_is_declared(store, clock):
    recorder = recorder_of(store, clock)
    for _ in range(5):
        await recorder.hold("cert", [warning()])
    assert store.counts() == {"ask for app1": 1}
    await recorder.hold("cert", [warning(occurrence=2)])
    assert store.counts() == {"ask for app1": 2}


async def test_a_held_event_is_two_hours_old_and_still_fresh(store, clock):
    recorder = recorder_of(store, clock)
    await recorder.hold("cert", [warning()])
    longest = timedelta(0)
    for _ in range(120):
        clock.seconds += 60
        before = next(iter(store.events.values()))["lastTimestamp"]
        longest = max(longest, clock.now() - datetime.fromisoformat(before))
        await recorder.refresh()
    assert longest <= timedelta(minutes=30)
    assert store.counts() == {"ask for app1": 5}


async def test_a_released_notice_is_not_refreshed(store, clock):
    recorder = recorder_of(store, clock)
    await recorder.hold("cert", [warning()])
    await recorder.hold("cert", [])
    clock.seconds += 7200
    await recorder.refresh()
    assert store.writes == 1


async def test_refreshing_without_anything_due_makes_no_request(store, clock):
    recorder = recorder_of(store, clock)
    await recorder.hold("cert", [warning()])
    before = store.requests
    for _ in range(10):
        await recorder.refresh()
    assert store.requests == before


async def test_what_was_unused_for_longest_is_forgotten_and_counted_on_when_it_comes_again(store, clock):
    recorder = recorder_of(store, clock, remembered=2)
    for message in ("one", "two", "three"):
        await recorder.record(warning(message))
    before = store.requests
    await recorder.record(warning("three"))
    assert store.requests == before + 1, "it is remembered: one request"
    await recorder.record(warning("one"))
    assert store.requests == before + 4, "it was forgotten: it is created in vain, read and counted on"
    assert store.counts() == {"one": 2, "two": 1, "three": 2}


async def test_a_held_notice_that_flood_control_kept_back_is_written_once_there_is_space(store, clock):
    recorder = recorder_of(store, clock)
    for _ in range(25):
        await recorder.record(warning("noise"))
    await recorder.hold("cert", [warning()])
    await recorder.refresh()
    assert "ask for app1" not in store.counts()
    clock.seconds += 300
    await recorder.refresh()
    assert store.counts()["ask for app1"] == 1


async def test_a_held_notice_is_not_forgotten_however_many_others_there_are(store, clock):
    recorder = recorder_of(store, clock, remembered=1)
    await recorder.hold("cert", [warning()])
    await recorder.record(warning("something else"))
    await recorder.refresh()
    assert store.counts()["ask for app1"] == 1  # not written again before it is due, whatever memory there is
    clock.seconds += timedelta(minutes=25).total_seconds()
    await recorder.refresh()
    assert store.counts()["ask for app1"] == 2


async def test_occurrences_at_the_same_time_are_written_together(store, clock):
    recorder = recorder_of(store, clock)
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(recorder.record(warning()))
    assert store.counts() == {"ask for app1": 5}
    assert store.writes == 2, "the first, and all that came while it was on its way"


async def test_what_a_failure_kept_back_is_written_by_the_next_refresh(store, clock):
    recorder = recorder_of(store, clock)
    store.fail = [Timeout("too slow")]
    await recorder.record(warning())
    assert store.events == {}
    await recorder.refresh()
    assert store.counts() == {"ask for app1": 1}


async def test_a_failure_is_made_up_for_even_if_more_is_kept_back_than_is_remembered(store, clock):
    recorder = recorder_of(store, clock, remembered=1)
    for message in ("one", "two"):
        store.fail = [Timeout("too slow")]
        await recorder.record(warning(message))
    await recorder.refresh()
    assert store.counts() == {"one": 1, "two": 1}


async def test_what_is_tried_again_takes_no_second_token(store, clock):
    recorder = recorder_of(store, clock, burst=5, refill=timedelta(days=1))
    store.fail = [Timeout("no")] * 4
    await recorder.record(warning("first", key="first"))
    for _ in range(4):
        clock.seconds += 61
        await recorder.refresh()
    for number in range(5):
        await recorder.record(warning(f"message {number}", key=f"key-{number}"))
    assert store.counts() == {"first": 1, **{f"message {number}": 1 for number in range(4)}}


async def test_what_was_held_and_is_over_is_not_written_late_but_counted_when_it_happens_again(store, clock):
    recorder = recorder_of(store, clock)
    store.fail = [Timeout("no answer")]
    await recorder.hold("web", [warning()])
    await recorder.hold("web", [])
    await recorder.hold("api", [warning("ask for app2")])
    store.fail = [Timeout("no answer")]
    await recorder.hold("api", [replace(warning("ask for app2"), occurrence=2)])
    recorder.release("api")
    await recorder.refresh()
    assert store.counts() == {"ask for app2": 1}
    await recorder.hold("web", [warning()])
    await recorder.hold("api", [warning("ask for app2")])
    assert store.counts() == {"ask for app1": 2, "ask for app2": 3}


async def test_what_is_held_while_all_is_refreshed_is_counted_once(store, clock):
    recorder = recorder_of(store, clock)
    async with asyncio.TaskGroup() as group:
        group.create_task(recorder.hold("web", [warning("one"), warning("two")]))
        group.create_task(recorder.refresh())
    assert store.counts() == {"one": 1, "two": 1}


async def test_what_is_over_before_it_could_be_written_is_forgotten_in_time(store, clock):
    recorder = recorder_of(store, clock, remembered=2)
    for n in range(9):
        store.fail = [Timeout("no answer")]
        await recorder.hold("web", [replace(warning(), regarding=replace(POD, name=f"web-{n}", uid=f"uid-{n}"))])
    assert len(recorder._series) <= 3, "those that are kept, and the one that is still to be written"


async def test_what_one_scope_ends_and_another_still_holds_is_written_late(store, clock):
    recorder = recorder_of(store, clock)
    await recorder.hold("one", [warning()])
    store.fail = [Timeout("no answer")]
    await recorder.hold("other", [warning()])
    recorder.release("one")
    await recorder.refresh()
    assert store.counts() == {"ask for app1": 2}


async def test_what_the_server_rejects_for_good_is_not_tried_again(store, clock):
    recorder = recorder_of(store, clock)
    store.fail = [Forbidden("the namespace is being terminated")]
    await recorder.record(warning())
    requests = store.requests
    await recorder.refresh()
    assert store.requests == requests


async def test_those_warned_are_known_after_a_restart_until_they_hear_of_the_recovery(store, clock):
    other = Reference(api_version="v1", kind="Pod", namespace="team", name="web-1", uid="other")
    recorder = recorder_of(store, clock)
    await recorder.record(warning())
    await recorder.record(warning(regarding=other, related=POD))
    clock.seconds += 1
    restarted = recorder_of(store, clock)
    assert await restarted.recipients(CERTIFICATE) == [POD]
    await restarted.normal(POD, "Issued", "the Secret is there", related=CERTIFICATE)
    assert await recorder_of(store, clock).recipients(CERTIFICATE) == []
    clock.seconds += 1
    await restarted.record(warning())
    assert await recorder_of(store, clock).recipients(CERTIFICATE) == [POD]


async def test_those_warned_in_relation_to_an_object_that_was_recreated_are_known_by_the_new_one(store, clock):
    recorder, again = recorder_of(store, clock), replace(CERTIFICATE, uid="another-uid")
    await recorder.record(warning(related=CERTIFICATE))
    clock.seconds += 1
    await recorder.record(warning(related=again))
    assert store.counts() == {"ask for app1": 2}
    assert await recorder.recipients(again) == [POD]
    assert await recorder.recipients(CERTIFICATE) == []


async def test_those_warned_about_a_cluster_scoped_object_are_found_in_the_namespace_asked_for(store, clock):
    issuer = Reference(api_version="pki.example/v1", kind="ClusterIssuer", namespace="", name="ca", uid="ca-uid")
    recorder = recorder_of(store, clock)
    await recorder.record(warning(related=issuer))
    assert await recorder.recipients(issuer, namespace="team") == [POD]
    assert await recorder.recipients(issuer) == []


def test_a_reference_reads_json_and_objects_and_rejects_what_has_no_name():
    obj = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web-0", "namespace": "team", "uid": "pod-uid"},
    }
    assert Reference.of(obj) == POD == Reference.read(POD.write())
    with pytest.raises(TypeError, match=r"metadata\.name"):
        Reference.of({"apiVersion": "v1", "kind": "Pod"})


@given(st.text(min_size=1))
def test_any_message_becomes_one_line_within_the_limit_of_the_server(text):
    from operatorkit.events.notices import one_line

    line = one_line(text * 40)
    assert len(line.encode()) <= 1024
    assert line.isprintable()


@given(st.text(max_size=300), st.text(max_size=20))
def test_every_event_has_a_name_that_the_server_accepts(name, key):
    from operatorkit.names import dns_subdomain_error

    recorder = recorder_of(EventStore(), HeldClock())
    notice = warning(regarding=Reference(api_version="v1", kind="User", name=name))
    assert dns_subdomain_error(recorder._name(notice, key)) is None


@given(
    st.lists(
        st.tuples(st.sampled_from("abcdefghijklmnop"), st.sampled_from([1.0, 30.0, 400.0, 2000.0])),
        max_size=120,
    ),
    st.integers(min_value=0, max_value=119),
)
async def test_no_occurrence_is_lost_or_counted_twice_whatever_the_order(occurrences, restart_at):
    store, clock = EventStore(), HeldClock()
    recorder = recorder_of(store, clock)
    expected: Counter[str] = Counter()
    for index, (message, pause) in enumerate(occurrences):
        if index == restart_at:
            clock.seconds += 20_000
            await recorder.refresh()
            recorder = recorder_of(store, clock)
        await recorder.record(warning(message))
        expected[message] += 1
        clock.seconds += pause
    for _ in range(20):
        clock.seconds += 300
        await recorder.refresh()
    assert sum(store.counts().values()) == expected.total()
    assert len(store.events) <= len(expected) + 1
    for message, count in store.counts().items():
        assert message.startswith("(combined") or count <= expected[message]
