"""What a section of the demo needs of the machine, and how to install what is missing.

What belongs here: looking for packages and programs. What does not: using them.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from importlib import metadata

from operatorkit.controlplane.nodes.process import unavailable
from operatorkit.errors import InputError

__all__ = ["missing_for"]

_DEBIAN = {
    "mariadbd": "mariadb-server",
    "mariadb-install-db": "mariadb-server",
    "mariadb": "mariadb-client",
    "bwrap": "bubblewrap",
}
_SHOWN = {"bwrap": "bubblewrap"}
_WHERE_SERVERS_ARE = "/usr/local/sbin:/usr/sbin"
_PROBE_SECONDS = 20


def missing_for(operator: str) -> str | None:
    """Return what keeps the section of an operator from being shown, and the remedy; None where nothing does."""
    (entry_point,) = metadata.entry_points(group="operatorkit.operators", name=operator)
    try:
        entry_point.load()
    except InputError as error:  # an extra that is not installed
        return str(error)
    return _missing_for_shards() if operator == "mysql_sharding" else None


def _missing_for_shards() -> str | None:
    if importlib.util.find_spec("asyncmy") is None:
        return "it needs asyncmy, which is not installed: pip install 'operatorkit[mysql]'"
    path = f"{os.environ.get('PATH', os.defpath)}:{_WHERE_SERVERS_ARE}"
    missing = [name for name in _DEBIAN if shutil.which(name, path=path) is None]
    if missing:
        programs = ", ".join(_SHOWN.get(name, name) for name in missing)
        packages = " ".join(dict.fromkeys(_DEBIAN[name] for name in missing))
        return f"not installed: {programs} (Debian: apt-get install {packages})"
    return unavailable() or _sandbox_error()


def _sandbox_error() -> str | None:
    """Return why bubblewrap cannot start a container as process nodes do; None where it can."""
    options = ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]
    if os.geteuid() != 0:
        options.append("--unshare-user")
    command = ["bwrap", *options, "--ro-bind", "/", "/", "--proc", "/proc", "true"]
    try:
        done = subprocess.run(  # noqa: S603 - our own command line
            command, check=False, capture_output=True, text=True, timeout=_PROBE_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap cannot be run: {error}"
    if done.returncode == 0:
        return None
    return (
        f"bubblewrap cannot create namespaces here: {' '.join(done.stderr.split())}: "
        "allow user namespaces, or run the demo as root of a virtual machine"
    )
