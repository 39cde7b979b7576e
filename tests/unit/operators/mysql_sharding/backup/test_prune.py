"""The command that deletes a backup and archived binary logs, on files."""

from __future__ import annotations

import os
import subprocess

import pytest

from operators.mysql_sharding.backup.scripts import CHECKSUMS, MANIFEST, MESSAGE_PATH, PRUNE


class Volume:
    """A directory in place of the volume of the pod."""

    def __init__(self, path):
        self.root = path / "volume"
        self._message = path / "message"

    def write(self, directory, **fields):
        place = self.root / directory
        place.mkdir(parents=True)
        texts = ",".join(f'"{name}":"{value}"' for name, value in fields.items())
        (place / MANIFEST).write_text(f"{{{texts}}}\n")
        (place / CHECKSUMS).touch()

    def prune(self, directory, *, uid="b1", oldest=""):
        """Run the command; return its message, "" if it has succeeded."""
        script = PRUNE.replace(MESSAGE_PATH, str(self._message)).replace('"/backup/', f'"{self.root}/')
        script = script.replace("place=/backup/", f"place={self.root}/")
        values = {"BACKUP_UID": uid, "DIRECTORY": directory, "ARCHIVE": "shop/_binlogs/u1", "OLDEST": oldest}
        done = subprocess.run(["bash", "-c", script], env={**os.environ, **values}, check=False, capture_output=True)
        return "" if done.returncode == 0 else self._message.read_text()

    def directories(self):
        return sorted(str(path.parent.relative_to(self.root)) for path in self.root.rglob(MANIFEST))


@pytest.fixture
def volume(tmp_path):
    volume = Volume(tmp_path)
    volume.write("shop/old/0", uid="b1")
    volume.write("shop/old/1", uid="b1")
    volume.write("shop/new/0", uid="b2")
    for number, hour in ((1, 1), (2, 3), (3, 5)):
        volume.write(f"shop/_binlogs/u1/0/0000000{number}", through=f"2026-01-02T0{hour}:00:00Z")
    return volume


SEGMENTS = [f"shop/_binlogs/u1/0/0000000{number}" for number in (1, 2, 3)]


def test_a_backup_is_deleted_and_nothing_else(volume):
    assert volume.prune("shop/old") == ""
    assert volume.directories() == [*SEGMENTS, "shop/new/0"]
    assert volume.prune("shop/old") == "", "it may run twice"


def test_segments_that_end_before_the_oldest_backup_began_are_deleted(volume):
    assert volume.prune("shop/old", oldest="2026-01-02T03:00:00Z") == ""
    assert volume.directories() == [*SEGMENTS[1:], "shop/new/0"]


def test_a_directory_that_holds_another_backup_is_kept(volume):
    assert "holds another backup" in volume.prune("shop/new")
    assert "shop/new/0" in volume.directories()


@pytest.mark.parametrize("directory", ["", "shop/../shop/new", ".."])
def test_a_path_that_leads_elsewhere_is_rejected(volume, directory):
    before = volume.directories()
    assert "no directory of a backup" in volume.prune(directory, uid="b2")
    assert volume.directories() == before
