"""The images table: which program stands for an image.

What belongs here: reading the table, and finding an image in it. What does not: running programs.

    # images.yaml
    redis:7:
      command: [redis-server]          # the image's entrypoint
      args: [--save, ""]               # its default arguments
      env: {TZ: UTC}
      workingDir: /
      user: 999                        # who runs it unless the pod says so; needs root

An entry without a tag stands for every tag of that image.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from operatorkit.errors import InputError

__all__ = ["Image", "Images"]

_FIELDS = {"command": list, "args": list, "env": dict, "workingDir": str, "user": int}


@dataclass(frozen=True, slots=True)
class Image:
    """What an image brings: entrypoint, default arguments, environment, directory and user."""

    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    working_dir: str = "/"
    user: int | None = None

    @classmethod
    def read(cls, name: str, entry: Any, *, where: str) -> Image:
        """Return the image of one entry of a table. Raises InputError, which names the field."""
        if not isinstance(entry, Mapping):
            raise InputError(f"{where}: image {name!r} must be a mapping with {', '.join(_FIELDS)}")
        for key, value in entry.items():
            wanted = _FIELDS.get(key)
            if wanted is None:
                known = ", ".join(_FIELDS)
                raise InputError(f"{where}: image {name!r} has no field {key!r}: use {known}")
            if not isinstance(value, wanted):
                raise InputError(
                    f"{where}: {key} of image {name!r} is {value!r}: it must be of type {wanted.__name__}"
                )
        return cls(
            tuple(map(str, entry.get("command", ()))),
            tuple(map(str, entry.get("args", ()))),
            {str(key): str(value) for key, value in entry.get("env", {}).items()},
            entry.get("workingDir", "/"),
            entry.get("user"),
        )


class Images:
    """Images by name; entries may be added at any time, and apply to containers started later."""

    def __init__(self, entries: Mapping[str, Any] | None = None, *, where: str = "images") -> None:
        self._images: dict[str, Image] = {}
        for name, entry in (entries or {}).items():
            self._images[str(name)] = Image.read(str(name), entry, where=where)

    @classmethod
    def load(cls, path: Path) -> Images:
        """Read a table in YAML. Raises InputError."""
        try:
            loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path}: the images file cannot be read: {error.strerror}") from error
        except yaml.YAMLError as error:
            raise InputError(f"{path}: the images file is not valid YAML: {error}") from error
        if loaded is not None and not isinstance(loaded, Mapping):
            raise InputError(f"{path}: the images file must map names of images to entries")
        return cls(loaded, where=str(path))

    def add(self, name: str, **entry: Any) -> None:
        """Add an image; `entry` has the fields of the table. Raises InputError."""
        self._images[name] = Image.read(name, entry, where="images.add")

    def find(self, name: str) -> Image | None:
        """Return the image of that name, or of that name without its tag or digest."""
        if name in self._images:
            return self._images[name]
        bare = name.partition("@")[0]
        head, colon, tag = bare.rpartition(":")
        if colon and "/" not in tag:
            bare = head
        return self._images.get(bare)
