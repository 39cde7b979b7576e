"""What a container sees of the machine: the command line of bubblewrap.

What belongs here: which mounts, namespaces, users and capabilities a container gets. What does not:
what is in its volumes (`volumes`), and running it (`child`).

The root of a container is a tmpfs with the machine's top-level directories, read-only, in it; /tmp,
/run and /var/tmp are the container's own. A mount point that the machine lacks is created in a tmpfs:
its nearest directory is rebuilt, entry by entry, so that nothing is ever created on the machine.

    /                tmpfs
    /usr /etc ...    the machine's, read-only
    /etc/hosts       the pod's
    /srv/new/data    a volume: /srv is a tmpfs whose entries point to the machine's /srv
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

__all__ = [
    "DEFAULT_CAPABILITIES",
    "Identity",
    "Mount",
    "Sandbox",
    "arguments",
    "unavailable",
    "user_prefix",
]

DEFAULT_CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
    *("NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT", "AUDIT_WRITE"),
)
"""What containerd leaves to root in a container."""

_OWN = (PurePosixPath("/tmp"), PurePosixPath("/run"), PurePosixPath("/var/tmp"))  # noqa: S108
_KERNEL = ("dev", "proc", "sys")
_ASIDE = "/.machine"


@dataclass(frozen=True, slots=True)
class Mount:
    """A file or directory of the machine at a path of the container."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """Who runs a container; None is whoever runs the node. Another user needs root."""

    user: int | None = None
    group: int | None = None
    groups: Sequence[int] = ()
    capabilities: Sequence[str] = DEFAULT_CAPABILITIES


@dataclass(frozen=True, slots=True)
class Sandbox:
    """One container, ready to be started."""

    command: Sequence[str]
    environment: Mapping[str, str]
    hostname: str
    working_dir: str = "/"
    mounts: Sequence[Mount] = ()
    identity: Identity = field(default_factory=Identity)


def unavailable() -> str | None:
    """Return why process nodes cannot run on this machine, and the remedy, or None where they can."""
    if os.name != "posix" or not hasattr(os, "pidfd_open"):
        return "process nodes need Linux 5.3 or later"
    if shutil.which("bwrap") is None:
        return "process nodes need bubblewrap: install it (Debian: apt-get install bubblewrap)"
    return None


def arguments(sandbox: Sandbox, *, root: Path = Path("/")) -> tuple[list[str], list[str]]:
    """Return the options of bubblewrap, which hold secrets, and the command that it runs.

    `root` is the machine's root directory, as a test may replace it.
    """
    options = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--hostname", sandbox.hostname]
    options += ["--as-pid-1", "--die-with-parent", "--clearenv"]
    for name, value in sandbox.environment.items():
        options += ["--setenv", name, value]
    options += _filesystem(sandbox.mounts, root)
    options += ["--chdir", sandbox.working_dir or "/"]
    options += _privileges(sandbox.identity)
    return options, [*user_prefix(sandbox.identity), *sandbox.command]


def _privileges(identity: Identity) -> list[str]:
    """Return the options of bubblewrap for a user and capabilities."""
    if os.geteuid() != 0:
        options = ["--unshare-user"]
        if identity.user is not None:
            options += ["--uid", str(identity.user)]
        if identity.group is not None:
            options += ["--gid", str(identity.group)]
        return options
    capabilities = {*identity.capabilities}
    if user_prefix(identity):  # the program that changes the user needs these, and then loses them
        capabilities |= {"SETUID", "SETGID"}
    options = ["--cap-drop", "ALL"]
    for capability in sorted(capabilities):
        options += ["--cap-add", f"CAP_{capability}"]
    return options


def user_prefix(identity: Identity) -> list[str]:
    """Return the command that runs another one as a user; none is needed for the node's own."""
    same = identity.user in {None, 0} and identity.group in {None, 0} and not identity.groups
    if same or os.geteuid() != 0:
        return []
    groups = (
        f"--groups={','.join(map(str, identity.groups))}" if identity.groups else "--clear-groups"
    )
    user, group = f"--reuid={identity.user or 0}", f"--regid={identity.group or 0}"
    return [shutil.which("setpriv") or "setpriv", user, group, groups, "--"]


def _filesystem(mounts: Sequence[Mount], root: Path) -> list[str]:
    # Shortest path first: mounting a directory hides what was mounted below it before. Links are
    # resolved for that, since /var/run/x lies below /run, and is not as deep as it looks.
    placed = sorted(
        ((_resolved(mount.target, root), mount) for mount in mounts),
        key=lambda pair: len(pair[0].parts),
    )
    targets = [target for target, _ in placed]
    options = _top_level(root)
    # The machine's directories are mounted read-only, so bubblewrap cannot create a missing mount
    # point in them. Hence the rebuilt directories, which live in memory.
    for directory in _rebuilt(targets, root):
        options += _rebuild(directory, targets, root)
    for target, mount in placed:
        kind = "--ro-bind" if mount.read_only else "--bind"
        options += [kind, str(mount.source), str(target)]
    return options


def _top_level(root: Path) -> list[str]:
    options: list[str] = []
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        path = f"/{entry.name}"
        if entry.is_symlink():
            options += ["--symlink", str(Path(entry.path).readlink()), path]
        elif entry.name in _KERNEL or PurePosixPath(path) in _OWN or not entry.is_dir():
            continue
        else:
            options += ["--ro-bind", entry.path, path]
    options += ["--proc", "/proc"]
    if os.geteuid() == 0:
        options += ["--dev", "/dev"]
    else:  # devices of its own would take a second user namespace, which probes cannot enter
        options += ["--dev-bind", "/dev", "/dev", "--tmpfs", "/dev/shm"]  # noqa: S108
    for part in ("/sys/devices", "/sys/kernel/mm"):
        options += ["--ro-bind-try", part, part]
    for own in _OWN:
        options += ["--perms", "1777" if own.name == "tmp" else "0755", "--tmpfs", str(own)]
    return options


def _resolved(target: str, root: Path) -> PurePosixPath:
    """Return where a path of a container leads, by the links of the machine: /var/run is /run."""
    path = os.path.realpath(root / target.lstrip("/"))
    return PurePosixPath("/") / Path(path).relative_to(os.path.realpath(root)).as_posix()


def _is_below(path: PurePosixPath, parents: Iterable[PurePosixPath]) -> bool:
    return any(parent in path.parents for parent in parents)


def _rebuilt(targets: Sequence[PurePosixPath], root: Path) -> list[PurePosixPath]:
    """Return the directories of the machine that lack a mount point, the uppermost first."""
    found: set[PurePosixPath] = set()
    for target in targets:
        if (root / str(target).lstrip("/")).exists() or target in _OWN:
            continue
        if _is_below(target, (*_OWN, *(other for other in targets if other != target))):
            continue  # created in a tmpfs or in a volume
        nearest = next(
            parent for parent in target.parents if (root / str(parent).lstrip("/")).exists()
        )
        if nearest != PurePosixPath("/"):
            found.add(nearest)
    return sorted(found, key=lambda path: len(path.parts))


def _rebuild(directory: PurePosixPath, targets: Sequence[PurePosixPath], root: Path) -> list[str]:
    """Return the options that put a tmpfs with the same entries in the place of a directory."""
    place = root / str(directory).lstrip("/")
    aside = f"{_ASIDE}{directory}"
    options = ["--ro-bind", str(place), aside, "--perms", "0755", "--tmpfs", str(directory)]
    for entry in sorted(os.scandir(place), key=lambda entry: entry.name):
        path = directory / entry.name
        if path in targets:
            continue  # mounted over; bubblewrap creates the mount point
        if entry.is_symlink():
            options += ["--symlink", str(Path(entry.path).readlink()), str(path)]
        elif entry.is_dir() and any(path in target.parents for target in targets):
            options += ["--ro-bind", entry.path, str(path)]
        else:
            # A link costs nothing, where a mount of each entry would cost a millisecond.
            options += ["--symlink", f"{aside}/{entry.name}", str(path)]
    return options
