"""A pod and its Events, laid out as `kubectl describe pod` does, for machines on which there is no kubectl."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from operatorkit.clock import parse_time

__all__ = ["describe_events", "describe_pod"]

_COLUMNS = ("Type", "Reason", "Age", "From", "Message")


def describe_pod(pod: Mapping[str, Any], events: Iterable[Mapping[str, Any]], now: datetime) -> str:
    """Return the part of a pod's description that says where it stands, and its Events."""
    meta, spec, status = pod["metadata"], pod.get("spec", {}), pod.get("status", {})
    lines = [
        _field("Name", meta["name"]),
        _field("Namespace", meta["namespace"]),
        _field("Node", spec.get("nodeName") or "<none>"),
        _field(
            "Status",
            "Terminating" if "deletionTimestamp" in meta else status.get("phase", "Unknown"),
        ),
        "Containers:",
    ]
    for container in status.get("containerStatuses", []):
        lines.append(f"  {container['name']}:")
        states: dict[str, dict[str, Any]] = container.get("state") or {"waiting": {}}
        state, detail = next(iter(states.items()))
        lines.append(_field("    State", state.capitalize()))
        if detail.get("reason"):
            lines.append(_field("      Reason", detail["reason"]))
        lines.append(_field("    Ready", str(container.get("ready", False))))
    lines.append("Volumes:")
    for volume in spec.get("volumes", []):
        secret = volume.get("secret", {}).get("secretName")
        if secret:
            lines += [f"  {volume['name']}:", _field("    SecretName", secret)]
    return "\n".join([*lines, describe_events(events, now)])


def describe_events(events: Iterable[Mapping[str, Any]], now: datetime) -> str:
    """Return Events as kubectl's table: the oldest first, counted ones with how long they have been going on."""
    rows = [_row(event, now) for event in sorted(events, key=_order)]
    if not rows:
        return f"{'Events:':<18}<none>"
    table = [
        _COLUMNS,
        tuple("-" * (4 if name == "Type" else max(4, len(name))) for name in _COLUMNS),
        *rows,
    ]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    lines = [
        "  "
        + "  ".join(
            [*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]
        )
        for row in table
    ]
    return "\n".join(["Events:", *lines])


def _field(name: str, value: str) -> str:
    return f"{name + ':':<18}{value}"


def _row(event: Mapping[str, Any], now: datetime) -> tuple[str, str, str, str, str]:
    last, first, count = _last_seen(event), _first_seen(event), event.get("count") or 1
    age = _short(now - last)
    if count > 1:
        age = f"{age} (x{count} over {_short(now - first)})"
    source = event.get("source", {}).get("component") or event.get("reportingComponent") or ""
    return (
        event.get("type", ""),
        event.get("reason", ""),
        age,
        source,
        event.get("message", "").strip(),
    )


def _order(event: Mapping[str, Any]) -> str:
    """Sort as kubectl does: by the last time seen, and what has none of that first."""
    return event.get("lastTimestamp") or ""


def _first_seen(event: Mapping[str, Any]) -> datetime:
    return parse_time(
        event.get("firstTimestamp")
        or event.get("eventTime")
        or event["metadata"]["creationTimestamp"]
    )


def _last_seen(event: Mapping[str, Any]) -> datetime:
    return parse_time(
        event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"]["creationTimestamp"]
    )


def _short(span: timedelta) -> str:
    """Write a span as kubectl writes ages that are short: 5s, 2m5s, 3h12m."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 120:
        return f"{seconds}s"
    minutes, seconds = divmod(seconds, 60)
    if minutes < 10:
        return f"{minutes}m{seconds}s" if seconds else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m" if minutes and hours < 8 else f"{hours}h"
