"""A PostgreSQL of the tests' own, from the binaries of the machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def find_binaries() -> Path | None:
    """Return where initdb is, or None."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return debian[-1].parent if debian else None


@contextmanager
def postgresql(port: int) -> Iterator[str]:
    """Run a server until the block is left, and give the URL of its database."""
    binaries = find_binaries()
    assert binaries is not None
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="attestation-postgresql-") as name:
        folder = Path(name)
        data = folder / "data"
        if user:  # PostgreSQL does not run as root
            shutil.chown(folder, "postgres")

        def run(*command: str) -> None:
            done = subprocess.run([*user, *command], check=False, capture_output=True, text=True, cwd=folder)
            assert done.returncode == 0, done.stderr

        run(str(binaries / "initdb"), "-D", str(data), "-U", "attest", "--auth=trust", "--no-sync", "-E", "UTF8")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c max_connections=60"
        run(str(binaries / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql://attest@127.0.0.1:{port}/postgres"
        finally:
            run(str(binaries / "pg_ctl"), "-D", str(data), "-m", "fast", "-w", "stop")
