"""Making a container of a pod: its environment, user, mounts and program.

What belongs here: from the pod's spec to a running `Child`. What does not: when (`pod`).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operatorkit.cluster.api import JSONObject
from operatorkit.controlplane.nodes.process import termination
from operatorkit.controlplane.nodes.process.cgroups import PodGroup
from operatorkit.controlplane.nodes.process.child import Child, SandboxError
from operatorkit.controlplane.nodes.process.environment import (
    PodFacts,
    command_line,
    environment,
    expand,
)
from operatorkit.controlplane.nodes.process.hosts import HostsFiles
from operatorkit.controlplane.nodes.process.images import Image, Images
from operatorkit.controlplane.nodes.process.logs import ContainerLog
from operatorkit.controlplane.nodes.process.records import Container
from operatorkit.controlplane.nodes.process.sandbox import (
    DEFAULT_CAPABILITIES,
    Identity,
    Mount,
    Sandbox,
)
from operatorkit.controlplane.nodes.process.volumes import Volumes
from operatorkit.controlplane.nodes.references import Lookup, config_failure

__all__ = ["ConfigError", "Launcher", "PodSpace"]

_WRITABLE = frozenset({"emptyDir", "persistentVolumeClaim", "hostPath"})


class ConfigError(Exception):
    """A container cannot be made as its pod wants it; `reason` is that of its waiting state."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(slots=True)
class PodSpace:
    """What a pod has on the machine: an address, a directory, a control group."""

    address: str
    host_ip: str
    directory: Path
    group: PodGroup | None = None
    volumes: dict[str, Path] = field(default_factory=dict)
    names: list[str] | None = None  # the lines of Services in its hosts file

    @property
    def group_path(self) -> str:
        """The directory of its control group, or ""."""
        return str(self.group.path) if self.group is not None else ""


@dataclass(slots=True)
class Launcher:
    """Starts containers. `mark` is the directory of the node's run, by which its processes are found."""

    images: Images
    lookup: Callable[[str], Lookup]
    allocatable: Mapping[str, str]
    api_address: tuple[str, int]
    mark: str
    volumes: Volumes
    hosts: HostsFiles

    async def prepare(self, pod: JSONObject, space: PodSpace) -> list[str]:
        """Make what all containers of a pod need; return why that is not possible yet."""
        space.directory.mkdir(parents=True, exist_ok=True)
        (space.directory / "host.conf").write_text("multi on\n")  # all addresses of a name count
        self.write_hosts(pod, space, self.hosts.lines(pod["metadata"]["namespace"]))
        return await self.volumes.prepare(
            pod, space.directory / "volumes", self.facts(space), space.volumes
        )

    async def refresh(self, pod: JSONObject, space: PodSpace) -> float | None:
        """Bring volumes up to date; return in how many seconds that is due again by itself."""
        return await self.volumes.refresh(pod, space.directory / "volumes", self.facts(space))

    def write_hosts(self, pod: JSONObject, space: PodSpace, lines: list[str]) -> None:
        """Write a pod's hosts file; `lines` are those of `HostsFiles.lines` for its namespace."""
        if space.directory.is_dir():
            space.names = lines
            self.hosts.write(space.directory / "hosts", pod, space.address, lines)

    async def start(self, pod: JSONObject, space: PodSpace, container: Container) -> Child:
        """Start a container. Raises ConfigError, and OSError for a program that does not start."""
        sandbox = self.sandbox(pod, space, container)
        name = f"{container.name}-{container.restarts + container.ever_ran}.log"
        log = ContainerLog(space.directory / "logs" / name)
        try:
            child = await Child.start(
                sandbox,
                on_output=log.write,
                mark=self.mark,
                before_exec=space.group.add if space.group is not None else lambda _: None,
            )
        except SandboxError as error:
            log.write(b"")
            raise OSError(str(error)) from error
        except BaseException:
            log.write(b"")
            raise
        if container.previous_log is not None:
            container.previous_log.remove()
        container.previous_log, container.log = container.log, log
        return child

    def termination_message(self, space: PodSpace, container: Container, code: int) -> str:
        """Return what a container that has ended left as its message."""
        log = container.log.path if container.log is not None else None
        return termination.message(space.directory, container.spec, log, failed=code != 0)

    def remove(self, space: PodSpace) -> None:
        """Remove what a pod had on the machine; nothing of it runs any more."""
        shutil.rmtree(space.directory, ignore_errors=True)
        if space.group is not None:
            space.group.remove()

    def facts(self, space: PodSpace) -> PodFacts:
        """Return what the node knows about a pod."""
        host, port = self.api_address
        return PodFacts(space.address, space.host_ip, self.allocatable, host, port)

    def sandbox(self, pod: JSONObject, space: PodSpace, container: Container) -> Sandbox:
        """Return the sandbox of a container. Raises ConfigError, and OSError without its program."""
        spec = container.spec
        lookup = self.lookup(pod["metadata"]["namespace"])
        missing = config_failure(pod, spec, lookup)
        if missing is not None:
            raise ConfigError("CreateContainerConfigError", missing)
        name = str(spec.get("image", ""))
        image = self.images.find(name)
        if image is None and not spec.get("command"):
            raise ConfigError(
                "ErrImagePull",
                f'failed to pull image "{name}": process nodes have no such image: give container '
                f"{container.name} a command, or add the image to the images table",
            )
        variables = environment(pod, spec, image or Image(), self.facts(space), lookup)
        command = command_line(spec, image, variables)
        if not command:
            raise ConfigError("CreateContainerError", "no command specified")
        mounts = self._mounts(pod, space, container, variables)
        _require_program(command[0], variables, mounts)
        return Sandbox(
            command=command,
            environment=variables,
            hostname=pod["spec"].get("hostname") or pod["metadata"]["name"],
            working_dir=spec.get("workingDir") or (image.working_dir if image else "/"),
            mounts=mounts,
            identity=_identity(pod, spec, image),
        )

    def _mounts(
        self,
        pod: JSONObject,
        space: PodSpace,
        container: Container,
        variables: Mapping[str, str],
    ) -> list[Mount]:
        mounts = [
            Mount(space.directory / name, f"/etc/{name}", read_only=name == "host.conf")
            for name in ("hosts", "host.conf")
        ]
        writable = {
            volume["name"]
            for volume in pod["spec"].get("volumes") or ()
            if not _WRITABLE.isdisjoint(volume)
        }
        for mount in container.spec.get("volumeMounts") or ():
            name, source = mount["name"], space.volumes[mount["name"]]
            sub = expand(mount.get("subPathExpr", ""), variables) or mount.get("subPath", "")
            read_only = bool(mount.get("readOnly")) or name not in writable
            mounts.append(Mount(_sub_path(source, sub, name), mount["mountPath"], read_only))
        if (message := termination.mount(space.directory, container.spec)) is not None:
            mounts.append(message)
        return mounts


def _sub_path(source: Path, sub: str, name: str) -> Path:
    """Return a part of a volume, a directory where it is missing. Raises ConfigError."""
    if not sub:
        return source
    path, root = (source / sub).resolve(), source.resolve()
    if path != root and root not in path.parents:
        text = f'failed to prepare subPath for volumeMount "{name}": {sub} leads out of the volume'
        raise ConfigError("CreateContainerConfigError", text)
    if not path.exists():
        path.mkdir(parents=True)
        path.chmod(root.stat().st_mode & 0o7777)
    return path


def _require_program(program: str, variables: Mapping[str, str], mounts: list[Mount]) -> None:
    """Raise OSError, in a container runtime's words, for a program that the container will lack."""
    if any(program.startswith(f"{mount.target.rstrip('/')}/") for mount in mounts):
        return
    if "/" in program:
        if program.startswith("/") and not Path(program).exists():
            raise FileNotFoundError(f'exec: "{program}": stat {program}: no such file or directory')
    elif shutil.which(program, path=variables.get("PATH", "")) is None:
        raise FileNotFoundError(f'exec: "{program}": executable file not found in $PATH')


def _identity(pod: JSONObject, spec: Mapping[str, Any], image: Image | None) -> Identity:
    """Return who runs a container. Raises ConfigError."""
    context = {
        **(pod["spec"].get("securityContext") or {}),
        **{
            key: value
            for key, value in (spec.get("securityContext") or {}).items()
            if value is not None
        },
    }
    user = context.get("runAsUser", image.user if image else None)
    if context.get("runAsNonRoot") and (user == 0 or (user is None and os.geteuid() == 0)):
        text = "container has runAsNonRoot and image will run as root"
        raise ConfigError("CreateContainerConfigError", text)
    groups = [*(context.get("supplementalGroups") or ())]
    if (fs_group := context.get("fsGroup")) is not None:
        groups.append(fs_group)
    capabilities = set(DEFAULT_CAPABILITIES)
    changes = context.get("capabilities") or {}
    if "ALL" in (changes.get("drop") or ()):
        capabilities.clear()
    capabilities -= set(changes.get("drop") or ())
    capabilities |= set(changes.get("add") or ()) - {"ALL"}
    group = context.get("runAsGroup", user)
    return Identity(user, group, groups, tuple(sorted(capabilities)))
