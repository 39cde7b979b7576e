"""Keys and signatures, made by the real gpg once for all tests of this folder."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

DIGEST = "sha256:" + "ab" * 32


class Gpg:
    """A key ring of the tests' own."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *arguments: str, stdin: bytes = b"") -> bytes:
        command = ["gpg", "--batch", "--yes", "--no-tty", "--pinentry-mode", "loopback", "--passphrase", "", *arguments]
        environment = {**os.environ, "GNUPGHOME": str(self.home)}
        return subprocess.run(command, input=stdin, capture_output=True, check=True, env=environment).stdout

    def new_key(
        self, name: str, *, kind: str = "ed25519", usage: str = "sign", expire: str = "never", clock: str = ""
    ) -> bytes:
        fake = ["--faked-system-time", clock] if clock else []
        self(*fake, "--quick-gen-key", f"{name}@example.com", kind, usage, expire)
        return self("--armor", "--export", f"{name}@example.com")

    def fingerprint(self, name: str) -> str:
        lines = self("--with-colons", "--list-keys", f"{name}@example.com").decode().splitlines()
        return next(line.split(":")[9] for line in lines if line.startswith("fpr:")).lower()

    def sign(self, name: str, text: bytes, *options: str) -> bytes:
        return self("-u", f"{name}@example.com", "--armor", *options, stdin=text)


@pytest.fixture(scope="session")
def gpg(tmp_path_factory):
    if shutil.which("gpg") is None:
        pytest.fail("these tests need gpg: install the package gnupg")
    home = tmp_path_factory.mktemp("gnupg")
    home.chmod(0o700)
    yield Gpg(home)
    subprocess.run(["gpgconf", "--kill", "all"], check=False, env={**os.environ, "GNUPGHOME": str(home)})


@pytest.fixture(scope="session")
def signer(gpg):
    """The public key of the signer `qa`."""
    return gpg.new_key("qa")


@pytest.fixture(scope="session")
def clearsigned(gpg, signer):
    return gpg.sign("qa", DIGEST.encode(), "--digest-algo", "SHA256", "--clearsign")
