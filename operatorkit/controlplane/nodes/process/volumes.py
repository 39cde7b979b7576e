"""The volumes of a pod: a directory for each, filled and kept current.

What belongs here: what a volume source means on this machine. What does not: where it is mounted
(`sandbox`), and which directory a claim has (`claims`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from operatorkit.cluster.api import JSONObject
from operatorkit.controlplane.nodes.process import payload
from operatorkit.controlplane.nodes.process.environment import PodFacts
from operatorkit.controlplane.nodes.process.payload import Payload
from operatorkit.controlplane.nodes.process.tokens import Tokens
from operatorkit.controlplane.nodes.references import Lookup, mount_failures

__all__ = ["Claims", "Volumes"]

_DEFAULT_MODE = 0o644
_SUPPORTED = (
    "emptyDir",
    "configMap",
    "secret",
    "projected",
    "downwardAPI",
    "persistentVolumeClaim",
    "hostPath",
)


class Claims(Protocol):
    """Finds the directories of claims."""

    def directory(self, namespace: str, claim: str) -> Path | str:
        """Return the directory of a bound claim, or why there is none."""


@dataclass(slots=True)
class Volumes:
    """Makes and updates the volumes of pods."""

    lookup: Callable[[str], Lookup]
    claims: Claims
    tokens: Tokens

    async def prepare(
        self, pod: JSONObject, directory: Path, facts: PodFacts, places: dict[str, Path]
    ) -> list[str]:
        """Make all volumes and note their places; return one message for each that is not possible yet."""
        namespace = pod["metadata"]["namespace"]
        problems = mount_failures(pod, self.lookup(namespace))
        for volume in () if problems else pod["spec"].get("volumes") or ():
            name = volume["name"]
            try:
                places[name] = await self._make(pod, volume, directory / name, facts)
            except OSError as error:
                problems.append(f'MountVolume.SetUp failed for volume "{name}" : {error}')
        return problems

    async def refresh(self, pod: JSONObject, directory: Path, facts: PodFacts) -> float | None:
        """Bring objects in volumes up to date; return in how many seconds a token has to be renewed."""
        waits: list[float] = []
        lookup = self.lookup(pod["metadata"]["namespace"])
        if mount_failures(pod, lookup):
            return None  # an object was deleted: as with a kubelet, the volume keeps what it has
        for volume in pod["spec"].get("volumes") or ():
            files = await self._files(pod, volume, facts, waits)
            if files is not None:
                payload.write(directory / volume["name"], files, group=_fs_group(pod))
        return min(waits) if waits else None

    async def _make(
        self, pod: JSONObject, volume: Mapping[str, Any], directory: Path, facts: PodFacts
    ) -> Path:
        files = await self._files(pod, volume, facts, [])
        if files is not None:
            payload.write(directory, files, group=_fs_group(pod))
            return directory
        return self._directory(pod, volume, directory)

    def _directory(self, pod: JSONObject, volume: Mapping[str, Any], directory: Path) -> Path:
        """Return the directory of a volume that holds no objects."""
        group = _fs_group(pod)
        if "emptyDir" in volume:
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o777)
            _give(directory, group)
            return directory
        if source := volume.get("persistentVolumeClaim"):
            found = self.claims.directory(pod["metadata"]["namespace"], source["claimName"])
            if isinstance(found, str):
                raise OSError(found)
            if not _matches(found, group, pod):
                _give(found, group)
            return found
        if source := volume.get("hostPath"):
            path = Path(source["path"])
            if not path.exists():
                # A kubelet creates a missing path where `type` asks for it. Here the host is the
                # machine of a developer, and nothing removes it afterwards.
                raise OSError(f"hostPath {path}: process nodes do not create files on the machine")
            return path
        kind = next((key for key in volume if key != "name"), "nothing")
        raise OSError(f"process nodes have no volumes of {kind}: use {', '.join(_SUPPORTED)}")

    async def _files(
        self, pod: JSONObject, volume: Mapping[str, Any], facts: PodFacts, waits: list[float]
    ) -> Payload | None:
        """Return the content of a volume that holds objects, None for others."""
        lookup = self.lookup(pod["metadata"]["namespace"])
        if source := volume.get("secret"):
            mode = source.get("defaultMode", _DEFAULT_MODE)
            return payload.of_object("Secret", source.get("secretName", ""), source, mode, lookup)
        if source := volume.get("configMap"):
            mode = source.get("defaultMode", _DEFAULT_MODE)
            return payload.of_object("ConfigMap", source.get("name", ""), source, mode, lookup)
        if source := volume.get("downwardAPI"):
            mode = source.get("defaultMode", _DEFAULT_MODE)
            return payload.of_downward(pod, source.get("items") or (), mode, facts)
        source = volume.get("projected")
        if source is None:
            return None
        mode = source.get("defaultMode", _DEFAULT_MODE)
        files: Payload = {}
        for part in source.get("sources") or ():
            if it := part.get("secret"):
                files |= payload.of_object("Secret", it.get("name", ""), it, mode, lookup)
            elif it := part.get("configMap"):
                files |= payload.of_object("ConfigMap", it.get("name", ""), it, mode, lookup)
            elif it := part.get("downwardAPI"):
                files |= payload.of_downward(pod, it.get("items") or (), mode, facts)
            elif it := part.get("serviceAccountToken"):
                token, wait = await self.tokens.get(pod, it)
                files[it["path"]] = (token.encode(), mode)
                waits.append(wait)
            else:
                kind = next(iter(part), "nothing")
                raise OSError(f"process nodes have no projection of {kind}")
        return files


def _fs_group(pod: JSONObject) -> int | None:
    group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    return group if os.geteuid() == 0 else None


def _matches(directory: Path, group: int | None, pod: JSONObject) -> bool:
    """Return whether fsGroupChangePolicy leaves a volume alone, since its root has the group already."""
    context = pod["spec"].get("securityContext") or {}
    if group is None or context.get("fsGroupChangePolicy") != "OnRootMismatch":
        return False
    found = directory.stat()
    return found.st_gid == group and found.st_mode & 0o2770 == 0o2770


def _give(directory: Path, group: int | None) -> None:
    """Let a group write a directory and all in it, as fsGroup asks."""
    if group is None:
        return
    for path in (directory, *directory.rglob("*")):
        # chown follows links: one that a container made in its volume could point at any file of
        # the machine.
        if path.is_symlink():
            continue
        os.chown(path, -1, group)
        mode = path.stat().st_mode & 0o7777
        path.chmod(mode | (0o2770 if path.is_dir() else 0o660))
