"""The manifest of a backup: what is read, and what is rejected with its field."""

from __future__ import annotations

import json

import pytest

from operators.mysql_sharding.backup.manifest import ManifestError, parse_manifest

GOOD = {
    "format": 1,
    "backup": "nightly",
    "uid": "0b",
    "cluster": "shop",
    "shard": "shop0",
    "member": "shop0-1",
    "startedAt": "2026-01-02T03:04:05Z",
    "completedAt": "2026-01-02T03:04:09Z",
    "gtid": "0-1-100",
    "binlogState": "0-7-90,0-1-99",
    "serverVersion": "10.11.19-MariaDB",
    "files": [{"name": "data.mbstream.gz", "bytes": 7, "sha256": "a" * 64}],
}


def test_a_manifest_is_read():
    found = parse_manifest(json.dumps(GOOD) + "\n")
    assert (found.member, found.gtid, found.total_bytes) == ("shop0-1", "0-1-100", 7)
    assert found.duration_seconds == 4
    assert found.files[0].sha256 == "a" * 64


def test_an_empty_shard_has_no_position():
    assert parse_manifest(json.dumps({**GOOD, "gtid": "", "binlogState": ""})).gtid == ""


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"format": 2}, "format"),
        ({"gtid": "0-1"}, "gtid"),
        ({"binlogState": "x"}, "binlogState"),
        ({"startedAt": "yesterday"}, "startedAt"),
        ({"files": []}, "files"),
        ({"files": [{"name": "d", "bytes": 0, "sha256": "a" * 64}]}, "files.0.bytes"),
        ({"files": [{"name": "d", "bytes": 1, "sha256": "a" * 63}]}, "files.0.sha256"),
    ],
)
def test_what_is_wrong_is_named(change, field):
    with pytest.raises(ManifestError) as caught:
        parse_manifest(json.dumps({**GOOD, **change}))
    assert field in str(caught.value)


@pytest.mark.parametrize("text", ["", "reading failed", json.dumps(GOOD)[:200], "[]"])
def test_another_text_is_no_manifest(text):
    with pytest.raises(ManifestError):
        parse_manifest(text)
