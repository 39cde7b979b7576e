"""operatorkit.cli._describe lays out a pod's Events as kubectl does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from operatorkit.cli._describe import _short, describe_events, describe_pod

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def event(reason: str, ago: int, *, count: int = 1, over: int = 0, **more: object) -> dict[str, object]:
    return {
        "metadata": {"creationTimestamp": "2026-01-02T00:00:00Z"},
        "type": "Warning",
        "reason": reason,
        "message": f"{reason} happened",
        "source": {"component": "kubelet"},
        "count": count,
        "lastTimestamp": (NOW - timedelta(seconds=ago)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "firstTimestamp": (NOW - timedelta(seconds=over or ago)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        **more,
    }


def test_events_stand_in_the_order_in_which_they_were_last_seen_with_their_count() -> None:
    text = describe_events([event("Second", 3, count=4, over=90), event("First", 30)], NOW)
    lines = text.splitlines()
    assert lines[0] == "Events:"
    assert lines[1].split() == ["Type", "Reason", "Age", "From", "Message"]
    assert lines[3].split() == ["Warning", "First", "30s", "kubelet", "First", "happened"]
    assert "3s (x4 over 90s)" in lines[4]
    assert len({line.index(word) for line, word in ((lines[1], "Message"), (lines[3], "First happened"))}) == 1


def test_an_event_without_old_fields_is_dated_by_its_event_time() -> None:
    modern = {
        "metadata": {},
        "type": "Normal",
        "reason": "Modern",
        "message": "x",
        "eventTime": "2026-01-02T03:04:00.000000Z",
        "reportingComponent": "pki",
    }
    assert describe_events([modern], NOW).splitlines()[-1].split() == ["Normal", "Modern", "5s", "pki", "x"]


def test_no_events_are_said_to_be_none() -> None:
    assert describe_events([], NOW).split() == ["Events:", "<none>"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (-5, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (660, "11m"), (10800, "3h"), (11520, "3h12m")],
)
def test_ages_are_written_as_kubectl_writes_them(seconds: int, text: str) -> None:
    assert _short(timedelta(seconds=seconds)) == text


def test_a_waiting_container_shows_why_it_waits() -> None:
    pod = {
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"nodeName": "node-1", "volumes": [{"name": "tls", "secret": {"secretName": "web-tls"}}]},
        "status": {
            "phase": "Pending",
            "containerStatuses": [
                {"name": "web", "ready": False, "state": {"waiting": {"reason": "ContainerCreating"}}}
            ],
        },
    }
    words = describe_pod(pod, [], NOW).split()
    assert words[words.index("State:") + 1] == "Waiting"
    assert words[words.index("Reason:") + 1] == "ContainerCreating"
    assert words[words.index("SecretName:") + 1] == "web-tls"


def test_an_event_that_was_never_counted_stands_first_as_kubectl_has_it() -> None:
    scheduled = {"metadata": {}, "type": "Normal", "reason": "Scheduled", "eventTime": "2026-01-02T03:04:04.900000Z"}
    lines = describe_events([event("Later", 1), scheduled], NOW).splitlines()
    assert [line.split()[1] for line in lines[3:]] == ["Scheduled", "Later"]
