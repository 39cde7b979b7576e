from __future__ import annotations

from pathlib import Path

import pytest

from operatorkit.controlplane.nodes.process.images import Images
from operatorkit.errors import InputError


def test_an_entry_without_a_tag_stands_for_every_tag() -> None:
    images = Images({"db": {"command": ["any"]}, "db:11": {"command": ["eleven"]}})
    found = {name: image.command for name in ("db:11", "db:10", "db", "db@sha256:0") if (image := images.find(name))}
    assert found == {"db:11": ("eleven",), "db:10": ("any",), "db": ("any",), "db@sha256:0": ("any",)}


def test_the_port_of_a_registry_is_no_tag() -> None:
    images = Images({"registry.example:5000/db": {"command": ["x"]}})
    assert images.find("registry.example:5000/db:1") is not None
    assert images.find("registry.example") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("db: [x]", ("'db'", "must be a mapping")),
        ("db: {cmd: [x]}", ("'db'", "'cmd'", "use command, args")),
        ("db: {command: x}", ("'db'", "command", "must be of type list")),
        ("[db]", ("must map names of images",)),
        ("{", ("not valid YAML",)),
    ],
)
def test_a_table_that_is_wrong_is_rejected_with_file_image_and_field(
    tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    path = tmp_path / "images.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        Images.load(path)
    assert all(word in str(error.value) for word in (str(path), *words)), error.value


def test_a_table_that_is_missing_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"images file cannot be read: No such file"):
        Images.load(tmp_path / "nowhere.yaml")
