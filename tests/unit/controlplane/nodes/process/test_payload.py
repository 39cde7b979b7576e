from __future__ import annotations

from pathlib import Path

from operatorkit.controlplane.nodes.process.payload import of_object, write


def test_files_change_together_and_links_follow(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    assert write(volume, {"a": (b"1", 0o644), "deep/b": (b"1", 0o600)})
    first = (volume / "..data").resolve()
    assert (volume / "deep" / "b").read_bytes() == b"1"
    assert (volume / "deep" / "b").stat().st_mode & 0o777 == 0o600
    assert write(volume, {"a": (b"2", 0o644), "c": (b"2", 0o644)})
    assert sorted(it.name for it in volume.iterdir() if not it.name.startswith("..")) == ["a", "c"]
    assert (volume / "a").read_bytes() == b"2"
    assert not first.exists()


def test_the_same_content_is_not_written_again(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    write(volume, {"a": (b"1", 0o644)})
    data = (volume / "..data").readlink()
    assert not write(volume, {"a": (b"1", 0o644)})
    assert (volume / "..data").readlink() == data


def test_items_choose_keys_and_paths() -> None:
    held = {"data": {"a": "1", "b": "2"}, "binaryData": {"c": "AAE="}}
    items = {"items": [{"key": "a", "path": "x/y", "mode": 0o400}, {"key": "c", "path": "z"}]}
    found = of_object("ConfigMap", "conf", items, 0o644, lambda kind, name: held)
    assert found == {"x/y": (b"1", 0o400), "z": (b"\0\1", 0o644)}
    assert of_object("ConfigMap", "conf", {}, 0o644, lambda kind, name: None) == {}
