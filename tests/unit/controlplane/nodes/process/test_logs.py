from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from operatorkit.controlplane.nodes.process.logs import ContainerLog, LogOptions, select


def read(path: Path, **options: object) -> bytes:
    return b"".join(select(path, LogOptions(**options))[0])  # type: ignore[arg-type]


def test_pieces_of_lines_join_and_the_last_line_needs_no_end(tmp_path: Path) -> None:
    log = ContainerLog(tmp_path / "log")
    for piece in (b"on", b"e\ntwo", b"\nthree", b""):
        log.write(piece)
    assert read(log.path) == b"one\ntwo\nthree"
    assert log.closed


def test_a_line_longer_than_a_record_stays_one_line(tmp_path: Path) -> None:
    log = ContainerLog(tmp_path / "log")
    line = b"x" * 40_000 + b"\n"
    for start in range(0, len(line), 4096):
        log.write(line[start : start + 4096])
    log.write(b"next\n")
    log.write(b"")
    assert read(log.path) == line + b"next\n"
    assert read(log.path, tail=2) == line + b"next\n"
    assert read(log.path, tail=1) == b"next\n"


def test_tail_counts_a_last_line_without_end(tmp_path: Path) -> None:
    log = ContainerLog(tmp_path / "log")
    log.write(b"one\ntwo\nthree")
    log.write(b"")
    assert read(log.path, tail=2) == b"two\nthree"
    assert read(log.path, tail=0) == b""


def test_since_leaves_out_what_was_before(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("2026-01-01T00:00:00.000000000Z F old\n2026-01-02T00:00:00.000000000Z F new\n")
    assert read(path, since=datetime(2026, 1, 1, 12, tzinfo=UTC)) == b"new\n"
    assert read(path, timestamps=True).startswith(b"2026-01-01T00:00:00.000000000Z old\n")


def test_reading_goes_on_where_it_ended_and_from_the_start_in_another_file(tmp_path: Path) -> None:
    log = ContainerLog(tmp_path / "log")
    log.write(b"one\n")
    pieces, offset = select(log.path, LogOptions())
    assert list(pieces) == [b"one\n"]
    log.write(b"two\n")
    pieces, offset = select(log.path, LogOptions(), offset=offset)
    assert list(pieces) == [b"two\n"]
    log.write(b"")
    log.path.write_bytes(b"2026-01-01T00:00:00.000000000Z F x\n")
    assert b"".join(select(log.path, LogOptions(), offset=offset)[0]) == b"x\n"
