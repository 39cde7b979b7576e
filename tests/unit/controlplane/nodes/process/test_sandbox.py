from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from operatorkit.controlplane.nodes.process.sandbox import Mount, Sandbox, arguments


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a machine with a few directories."""
    for path in ("usr/bin", "etc/mysql/conf.d", "var/lib", "run", "tmp", "srv"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "etc" / "passwd").write_text("root")
    (tmp_path / "var" / "run").symlink_to("../run")
    (tmp_path / "bin").symlink_to("usr/bin")
    return tmp_path


def options(root: Path, *targets: str) -> list[str]:
    mounts = [Mount(Path("/volume"), target) for target in targets]
    sandbox = Sandbox(command=["true"], environment={}, hostname="h", mounts=mounts)
    return arguments(sandbox, root=root)[0]


def bound(found: list[str]) -> list[str]:
    """Return where volumes are bound, in order."""
    return [found[at + 2] for at, word in enumerate(found) if word == "--bind"]


def test_the_top_level_is_read_only_and_links_stay_links(root: Path) -> None:
    found = options(root)
    assert ("--ro-bind", str(root / "usr")) in list(pairwise(found))
    assert found[found.index("--symlink") : found.index("--symlink") + 3] == ["--symlink", "usr/bin", "/bin"]
    assert str(root / "tmp") not in found


def test_a_mount_point_that_exists_needs_nothing_else(root: Path) -> None:
    found = options(root, "/etc/mysql/conf.d")
    assert bound(found) == ["/etc/mysql/conf.d"]
    assert "/etc" not in [found[at + 1] for at, word in enumerate(found) if word == "--tmpfs"]


def test_a_directory_that_lacks_a_mount_point_is_rebuilt_entry_by_entry(root: Path) -> None:
    found = options(root, "/etc/new/place", "/etc/mysql/conf.d")
    pairs = list(pairwise(found))
    assert ("--tmpfs", "/etc") in pairs
    assert ("/.machine/etc/passwd", "/etc/passwd") in pairs  # a link
    assert (str(root / "etc" / "mysql"), "/etc/mysql") in pairs  # a mount: a volume goes into it
    assert bound(found) == ["/etc/new/place", "/etc/mysql/conf.d"] or bound(found) == [
        "/etc/mysql/conf.d",
        "/etc/new/place",
    ]
    assert not (root / "etc" / "new").exists()


@pytest.mark.parametrize("target", ["/new/top", "/tmp/x", "/run/secrets/token", "/var/run/secrets/token"])
def test_what_is_in_a_tmpfs_anyway_needs_no_rebuilding(root: Path, target: str) -> None:
    found = options(root, target)
    assert "/.machine" not in " ".join(found)
    assert bound(found) == [target.removeprefix("/var") if target.startswith("/var/run") else target]


def test_volumes_are_mounted_from_the_outside_in(root: Path) -> None:
    assert bound(options(root, "/srv/a/b", "/srv")) == ["/srv", "/srv/a/b"]
