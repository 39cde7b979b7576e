"""Events: what a server accepts, and that they end."""

from __future__ import annotations

import pytest


@pytest.fixture
def event():
    def make(http, **more):
        reference = {"kind": "Pod", "apiVersion": "v1", "name": "p", "namespace": http.namespace, "uid": "u"}
        return {
            "metadata": {"name": "e"},
            "involvedObject": reference,
            "reason": "Because",
            "message": "of this",
            "type": "Warning",
            "source": {"component": "me"},
            "count": 1,
            "firstTimestamp": "2026-01-01T00:00:00Z",
            "lastTimestamp": "2026-01-01T00:00:00Z",
            **more,
        }

    return make


async def test_an_event_is_kept_as_it_was_sent(http, event):
    made = await http.created("events", event(http))
    assert made["source"] == {"component": "me"}
    assert (made["reportingComponent"], made["reportingInstance"], made["eventTime"]) == ("", "", None)
    assert (made["count"], made["reason"], made["type"]) == (1, "Because", "Warning")
    answer = await http.patch(http.path("events", "e"), {"count": 2, "lastTimestamp": "2026-01-01T01:00:00Z"})
    assert (answer.json["count"], answer.json["lastTimestamp"]) == (2, "2026-01-01T01:00:00Z")


async def test_an_event_is_seen_in_both_groups(http, event):
    await http.created("events", event(http))
    other = (await http.get(http.path("events.k8s.io/v1/events", "e"))).json
    assert other["apiVersion"] == "events.k8s.io/v1"
    assert other["regarding"]["name"] == "p"
    assert (other["note"], other["deprecatedCount"]) == ("of this", 1)


@pytest.mark.parametrize(
    ("selector", "found"),
    [
        ("involvedObject.name=p", 1),
        ("involvedObject.name=q", 0),
        ("reason=Because,type=Warning", 1),
        ("type=Normal", 0),
        ("involvedObject.kind=Pod,involvedObject.uid=u", 1),
    ],
)
async def test_events_are_selected_by_their_subject(http, event, selector, found):
    await http.created("events", event(http))
    answer = await http.get(http.path("events"), query={"fieldSelector": selector})
    assert len(answer.json["items"]) == found


async def test_an_event_about_something_elsewhere_is_rejected(http, event):
    body = event(http)
    body["involvedObject"]["namespace"] = "elsewhere"
    answer = await http.post(http.path("events"), body)
    assert answer.status == 422
    assert answer.json["message"] == (
        'Event "e" is invalid: involvedObject.namespace: Invalid value: "elsewhere": does not match event.namespace'
    )


async def test_an_event_with_an_event_time_needs_a_reporter(http, event):
    body = event(http, eventTime="2026-01-01T00:00:00.000000Z")
    answer = await http.post(http.path("events"), body)
    assert answer.status == 422
    fields = {cause["field"] for cause in answer.json["details"]["causes"]}
    assert {"reportingController", "reportingInstance", "action"} & fields
