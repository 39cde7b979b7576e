"""Vulnerabilities: whether an image has such as a policy does not accept.

What belongs here: the rule as a value, what is read of occurrences, and the decision. What does not: looking them up
(`facts`). Pure.

An image that was not scanned is not known to be good: without a finished scan it is denied, unless the rule says that
none is required.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

__all__ = [
    "Scan",
    "ScanQuestion",
    "Vulnerability",
    "VulnerabilityPolicy",
    "read_scan",
    "scan_problem",
]

_RANK: Final = {
    "BLOCK_ALL": -1,
    "MINIMAL": 1,
    "LOW": 2,
    "MEDIUM": 3,
    "HIGH": 4,
    "CRITICAL": 5,
    "ALLOW_ALL": 99,
}
_UNKNOWN_RANK: Final = 5  # a severity that is not given may be the highest
_FINISHED: Final = frozenset({"FINISHED_SUCCESS", "COMPLETE"})
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True)
class ScanQuestion:
    """What must be looked up: the occurrences of a scanner about a digest."""

    server: str
    parent: str
    digest: str


@dataclass(frozen=True, slots=True)
class Vulnerability:
    """One vulnerability of an image: the name of its note, its severity, and whether there is a fix."""

    note: str
    severity: str
    fixable: bool

    @property
    def id(self) -> str:
        """The last part of the note: CVE-2024-1234."""
        return self.note.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scanner has said of an image; `finished` is the time of the last finished scan."""

    vulnerabilities: tuple[Vulnerability, ...] = ()
    finished: datetime | None = None
    unavailable: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VulnerabilityPolicy:
    """Which vulnerabilities are accepted; `allowed` has the end of each acceptance, None for no end."""

    server: str
    parent: str
    maximum: str
    maximum_without_fix: str
    allowed: tuple[tuple[str, datetime | None], ...] = ()
    require_scan: bool = True
    max_scan_age: timedelta | None = None


def read_scan(occurrences: Iterable[Mapping[str, Any]], digest: str) -> Scan:
    """Return what occurrences of v1 say about an image. Those of other digests and kinds are left out."""
    found: dict[str, Vulnerability] = {}
    finished: datetime | None = None
    for occurrence in occurrences:
        if not str(occurrence.get("resourceUri", "")).endswith(f"@{digest}"):
            continue
        if isinstance(content := occurrence.get("vulnerability"), Mapping):
            one = _vulnerability(str(occurrence.get("noteName", "")), content)
            known = found.get(one.note)
            if known is None or _rank(one.severity) > _rank(known.severity):
                found[one.note] = one
        if isinstance(content := occurrence.get("discovery"), Mapping):
            moment = _finished(occurrence, content)
            if moment is not None and (finished is None or moment > finished):
                finished = moment
    return Scan(tuple(found.values()), finished)


def _vulnerability(note: str, content: Mapping[str, Any]) -> Vulnerability:
    severity = content.get("effectiveSeverity") or content.get("severity")
    issues = content.get("packageIssue")
    fixable = bool(content.get("fixAvailable")) or (
        isinstance(issues, list) and any(_has_fix(issue) for issue in issues)
    )
    return Vulnerability(note, str(severity or "SEVERITY_UNSPECIFIED"), fixable)


def _has_fix(issue: Any) -> bool:
    fixed = issue.get("fixedVersion") if isinstance(issue, Mapping) else None
    return isinstance(fixed, Mapping) and bool(fixed) and fixed.get("kind") != "MAXIMUM"


def _finished(occurrence: Mapping[str, Any], content: Mapping[str, Any]) -> datetime | None:
    """Return when the scan was finished, by the server's own time of the occurrence."""
    if content.get("analysisStatus") not in _FINISHED:
        return None
    try:
        moment = datetime.fromisoformat(
            str(occurrence.get("updateTime") or occurrence.get("createTime"))
        )
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def scan_problem(policy: VulnerabilityPolicy, scan: Scan, now: datetime) -> str | None:
    """Return why an image may not run, None when it may."""
    if scan.unavailable is not None:
        return f"the metadata server did not respond: {scan.unavailable}"
    if policy.require_scan and scan.finished is None:
        return f"it was not scanned: {policy.parent} has no finished DISCOVERY occurrence for it"
    if policy.max_scan_age is not None and (
        scan.finished is None or now - scan.finished > policy.max_scan_age
    ):
        when = "never" if scan.finished is None else f"at {scan.finished:%Y-%m-%dT%H:%M:%SZ}"
        return f"it was last scanned {when}, and the scan may be {policy.max_scan_age} old"
    accepted = {name for name, expires in policy.allowed if expires is None or now < expires}
    bad = [
        one
        for one in scan.vulnerabilities
        if not {one.id, one.note} & accepted and _rank(one.severity) > _limit(policy, one)
    ]
    if not bad:
        return None
    bad.sort(key=lambda one: (-_rank(one.severity), one.id))
    shown = ", ".join(f"{one.id} ({one.severity}, {_fix(one)})" for one in bad[:_SHOWN])
    more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    return f"it has {shown}{more}: rebuild it with the fixes, or accept them in allowCVEs"


def _limit(policy: VulnerabilityPolicy, one: Vulnerability) -> int:
    return _RANK[policy.maximum if one.fixable else policy.maximum_without_fix]


def _fix(one: Vulnerability) -> str:
    return "fixed" if one.fixable else "no fix"


def _rank(severity: str) -> int:
    return _RANK.get(severity, _UNKNOWN_RANK)
