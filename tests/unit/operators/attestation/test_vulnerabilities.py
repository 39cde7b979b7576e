"""Which vulnerabilities a policy accepts, as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from operators.attestation.vulnerabilities import Scan, Vulnerability, VulnerabilityPolicy, read_scan, scan_problem

NOW = datetime(2026, 1, 10, tzinfo=UTC)
D = "sha256:" + "a" * 64
SCANNED = NOW - timedelta(days=1)


def policy(**more):
    given = {"server": "default", "parent": "projects/scans", "maximum": "MEDIUM", "maximum_without_fix": "MEDIUM"}
    return VulnerabilityPolicy(**{**given, **more})


def scan(*found, finished=SCANNED):
    return Scan(tuple(Vulnerability(f"projects/v/notes/{id_}", level, fix) for id_, level, fix in found), finished)


HIGH, LOW, OPEN = ("CVE-1", "HIGH", True), ("CVE-2", "LOW", True), ("CVE-3", "HIGH", False)


@pytest.mark.parametrize(
    ("rule", "found", "part"),
    [
        (policy(), scan(), None),
        (policy(), scan(LOW), None),
        (policy(), scan(LOW, HIGH), "it has CVE-1 (HIGH, fixed)"),
        (policy(), scan(OPEN), "it has CVE-3 (HIGH, no fix)"),
        (policy(maximum_without_fix="ALLOW_ALL"), scan(OPEN), None),
        (policy(maximum_without_fix="ALLOW_ALL"), scan(OPEN, HIGH), "CVE-1"),
        (policy(maximum="ALLOW_ALL", maximum_without_fix="ALLOW_ALL"), scan(("c", "CRITICAL", True)), None),
        (policy(maximum="BLOCK_ALL"), scan(("c", "MINIMAL", True)), "it has c (MINIMAL, fixed)"),
        (policy(maximum="HIGH"), scan(("c", "SEVERITY_UNSPECIFIED", True)), "SEVERITY_UNSPECIFIED"),
        (policy(maximum="HIGH"), scan(("c", "NEW_WORD", True)), "NEW_WORD"),
        (policy(allowed=(("CVE-1", None),)), scan(HIGH), None),
        (policy(allowed=(("projects/v/notes/CVE-1", None),)), scan(HIGH), None),
        (policy(allowed=(("CVE-1", NOW),)), scan(HIGH), "CVE-1"),
        (policy(allowed=(("CVE-1", NOW + timedelta(hours=1)),)), scan(HIGH), None),
        (policy(), scan(finished=None), "it was not scanned"),
        (policy(require_scan=False), scan(finished=None), None),
        (policy(max_scan_age=timedelta(days=2)), scan(), None),
        (policy(max_scan_age=timedelta(hours=2)), scan(), "last scanned at 2026-01-09"),
        (policy(max_scan_age=timedelta(days=2), require_scan=False), scan(finished=None), "last scanned never"),
        (policy(), Scan(unavailable="it is down"), "did not respond: it is down"),
        (policy(), scan(*((f"CVE-{n}", "HIGH", True) for n in range(8))), " and 3 more"),
    ],
)
def test_a_rule_decides(rule, found, part):
    why = scan_problem(rule, found, NOW)
    assert (why is None) == (part is None), why
    assert part is None or part in why


def occurrence(kind, content, *, digest=D, note="projects/v/notes/CVE-1", time="2026-01-09T00:00:00Z"):
    return {"resourceUri": f"https://gcr.io/app@{digest}", "noteName": note, kind: content, "updateTime": time}


def test_a_scan_is_read_of_the_occurrences_of_the_digest_alone():
    done = {"analysisStatus": "FINISHED_SUCCESS"}
    found = read_scan(
        [
            occurrence("vulnerability", {"severity": "LOW", "effectiveSeverity": "HIGH", "fixAvailable": True}),
            occurrence("vulnerability", {"severity": "LOW"}),
            occurrence("vulnerability", {"severity": "CRITICAL"}, digest="sha256:" + "b" * 64),
            occurrence(
                "vulnerability",
                {"severity": "LOW", "packageIssue": [{"fixedVersion": {"kind": "NORMAL"}}]},
                note="n/fixed",
            ),
            occurrence(
                "vulnerability",
                {"severity": "LOW", "packageIssue": [{"fixedVersion": {"kind": "MAXIMUM"}}, 5]},
                note="n/open",
            ),
            occurrence("discovery", done),
            occurrence("discovery", {"analysisStatus": "SCANNING"}, time="2026-01-09T05:00:00Z"),
            occurrence("discovery", done, time="yesterday"),
            occurrence("discovery", done, digest="sha256:" + "b" * 64, time="2026-01-09T06:00:00Z"),
        ],
        D,
    )
    assert found.finished == datetime(2026, 1, 9, tzinfo=UTC)
    assert [(one.id, one.severity, one.fixable) for one in found.vulnerabilities] == [
        ("CVE-1", "HIGH", True),
        ("fixed", "LOW", True),
        ("open", "LOW", False),
    ]
