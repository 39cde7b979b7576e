"""Registries for tests: real ones, which the Go toolchain builds from modules, and one that lies; and cosign.

    PYTHONPATH=tests python -m registries        builds both real ones and cosign, for the tests that need them

The small one builds in seconds and is built when a test needs it; the CNCF's and cosign take minutes, and their tests are
skipped until they are there.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

__all__ = ["MODULES", "Lying", "Registry", "build", "find", "index_of", "lying", "manifest", "running"]

MODULES = {
    "go-containerregistry": ("github.com/google/go-containerregistry/cmd/registry", "v0.22.1"),
    "distribution": ("github.com/distribution/distribution/v3/cmd/registry", "v3.1.2"),
    "cosign": ("github.com/sigstore/cosign/v3/cmd/cosign", "v3.1.3"),
}
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def _path(name: str) -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "operatorkit" / "registries" / f"{name}-{MODULES[name][1]}"


def find(name: str) -> Path | None:
    """Return a program, such as that of a registry; None where it was not built."""
    path = _path(name)
    return path if path.exists() else None


def build(name: str) -> Path | None:
    """Return a program, built if need be; None where there is no Go toolchain."""
    path, (module, version) = _path(name), MODULES[name]
    if path.exists() or shutil.which("go") is None:
        return find(name)
    folder = path.parent / f"build-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    try:
        environment = {**os.environ, "GOBIN": str(folder)}
        done = subprocess.run(
            ["go", "install", f"{module}@{version}"], env=environment, check=False, capture_output=True, text=True
        )
        if done.returncode != 0:
            return None  # such as without a network
        (folder / module.rpartition("/")[2]).replace(path)
    finally:
        shutil.rmtree(folder)
    return path


@dataclass
class Registry:
    """A registry on this machine."""

    host: str
    headers: dict[str, str] = field(default_factory=dict)

    async def push(self, repository: str, reference: str, body: bytes, media_type: str) -> str:
        """Push a manifest and return its digest."""
        async with (
            aiohttp.ClientSession() as session,
            session.put(
                f"http://{self.host}/v2/{repository}/manifests/{reference}",
                data=body,
                headers={"Content-Type": media_type, **self.headers},
            ) as answer,
        ):
            assert answer.status == 201, await answer.text()
        return f"sha256:{hashlib.sha256(body).hexdigest()}"

    async def push_image(self, repository: str, tag: str) -> str:
        """Push an image without layers and return the digest of its manifest."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "created": secrets.token_hex(4)}).encode()
        digest = await self.push_blob(repository, config)
        return await self.push(repository, tag, manifest(digest, len(config)), MANIFEST)

    async def push_index(self, repository: str, tag: str) -> str:
        """Push an index of two images and return its digest."""
        digests = [await self.push_image(repository, f"{tag}-{one}") for one in ("amd64", "arm64")]
        sizes = [await self._size(repository, digest) for digest in digests]
        return await self.push(repository, tag, index_of(dict(zip(digests, sizes, strict=True))), INDEX)

    async def _size(self, repository: str, digest: str) -> int:
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                f"http://{self.host}/v2/{repository}/manifests/{digest}", headers={"Accept": MANIFEST, **self.headers}
            ) as answer,
        ):
            return len(await answer.read())

    async def push_blob(self, repository: str, content: bytes) -> str:
        """Push a blob and return its digest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        url = f"http://{self.host}/v2/{repository}/blobs/uploads/"
        async with aiohttp.ClientSession(headers=self.headers) as session:
            async with session.post(url) as answer:
                assert answer.status == 202, await answer.text()
                place = answer.headers["Location"]
            place = place if place.startswith("http") else f"http://{self.host}{place}"
            place += ("&" if "?" in place else "?") + f"digest={digest}"
            octets = {"Content-Type": "application/octet-stream"}
            async with session.put(place, data=content, headers=octets) as answer:
                assert answer.status == 201, await answer.text()
        return digest


def manifest(config: str, size: int) -> bytes:
    """Return the manifest of an image without layers."""
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": size},
            "layers": [],
        }
    ).encode()


def index_of(sizes: dict[str, int]) -> bytes:
    """Return the index of images of two platforms."""
    platforms = [{"os": "linux", "architecture": one} for one in ("amd64", "arm64")]
    entries = [
        {"mediaType": MANIFEST, "digest": digest, "size": size, "platform": platform}
        for (digest, size), platform in zip(sizes.items(), platforms, strict=True)
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()


@asynccontextmanager
async def running(name: str, folder: Path, *, realm: str | None = None) -> AsyncIterator[Registry]:
    """Run a real registry; with `realm`, the CNCF's asks for tokens of that, signed by the key of `token_server`."""
    program = find(name)
    assert program is not None, f"{name} was not built"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [str(program)]
    if name == "distribution":
        configuration = folder / "registry.json"
        content: dict[str, Any] = {
            "version": "0.1",
            "storage": {"inmemory": {}},
            "http": {"addr": f"127.0.0.1:{port}"},
            "log": {"level": "error"},
        }
        if realm is not None:
            content["auth"] = {
                "token": {
                    "realm": realm,
                    "service": "registry.test",
                    "issuer": "test",
                    "rootcertbundle": str(folder / "token.pem"),
                }
            }
        configuration.write_text(json.dumps(content))  # JSON is YAML
        arguments += ["serve", str(configuration)]
    else:
        arguments += ["-port", str(port)]
    with (folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*arguments, stdout=log, stderr=log)
    try:
        await _answers(port, process)
        yield Registry(f"127.0.0.1:{port}")
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _answers(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        while True:
            assert process.returncode is None, "the registry has ended"
            with suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{port}/v2/") as answer:
                    if answer.status in {200, 401}:
                        return
            await asyncio.sleep(0.02)


@asynccontextmanager
async def token_server(folder: Path, users: dict[str, str]) -> AsyncIterator[str]:
    """Serve tokens as the distribution specifies them; anonymous ones may pull from public/."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tokens")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "token.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    chain = [base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()]

    def token(subject: str, repository: str, actions: list[str]) -> str:
        moment = int(time.time())
        claims = {
            "iss": "test",
            "aud": "registry.test",
            "sub": subject,
            "nbf": moment - 60,
            "iat": moment - 60,
            "exp": moment + 300,
            "jti": secrets.token_hex(8),
            "access": [{"type": "repository", "name": repository, "actions": actions}],
        }
        parts = [{"alg": "ES256", "typ": "JWT", "x5c": chain}, claims]
        text = ".".join(_b64(json.dumps(part).encode()) for part in parts)
        r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_b64(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    async def handle(request: web.Request) -> web.Response:
        _, repository, actions = request.query["scope"].split(":")
        header = request.headers.get("Authorization")
        user = ""
        if header is not None:
            user, _, password = base64.b64decode(header.removeprefix("Basic ")).decode().partition(":")
            if users.get(user) != password:
                return web.Response(status=401)
        allowed = actions.split(",") if user or repository.startswith("public/") else []
        return web.json_response({"token": token(user, repository, allowed)})

    async with serving(handle) as host:
        yield f"http://{host}/token"


def _b64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@dataclass
class Lying:
    """What a registry that is not to be trusted answers, by its path."""

    answers: dict[str, Callable[[web.Request], Awaitable[web.Response]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)


@asynccontextmanager
async def lying() -> AsyncIterator[tuple[str, Lying]]:
    """Serve whatever a test says, at a host."""
    found = Lying()

    async def handle(request: web.Request) -> web.Response:
        found.asked.append(request.path)
        answer = found.answers.get(request.path)
        return web.Response(status=404) if answer is None else await answer(request)

    async with serving(handle) as host:
        yield host, found


@asynccontextmanager
async def serving(handle: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    """Serve one handler at a free port and give the host."""
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
