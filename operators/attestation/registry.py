"""Registries: which digest a tag has now, and what refers to an image.

What belongs here: the part of the OCI distribution API that this takes, with its token authentication. What does not:
which tags are resolved (`mutation`), what the digest is worth (it is attested or it is not), and the signatures that
cosign keeps in a registry (`cosign`).

The digest is computed from the bytes of the manifest, never taken from a header: a registry whose header says something
else is reported, and its tag is not resolved. The digest of a tag that names an index is that of the index.

Source: https://github.com/opencontainers/distribution-spec/blob/main/spec.md and
https://distribution.github.io/distribution/spec/auth/token/
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import ipaddress
import json
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
from yarl import URL

from operators.attestation.images import DEFAULT_REGISTRY, ImageReference

__all__ = [
    "MANIFEST_TYPES",
    "Credentials",
    "RegistryError",
    "Repository",
    "credentials_from",
    "reading",
    "resolve",
]

MANIFEST_TYPES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024  # what registries accept, by the specification
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_MAX_TOKEN_BYTES: Final = 1024 * 1024
_HUB_HOST: Final = "registry-1.docker.io"
_HUB_NAMES: Final = (DEFAULT_REGISTRY, "index.docker.io", _HUB_HOST)
_PARAMETER = re.compile(r'([A-Za-z0-9_-]+)="([^"]*)"')

Credentials = Mapping[str, tuple[str, str]]
"""User and password by the host of a registry."""


class RegistryError(Exception):
    """A registry does not have, or does not give, what is asked for; the message says why."""


def credentials_from(directory: Path | None = None) -> Credentials:
    """Read the `auths` of a docker configuration, by default $DOCKER_CONFIG/config.json; none when it has none.

    Raises RegistryError for a file that cannot be decoded.
    """
    if directory is None:
        named = os.environ.get("DOCKER_CONFIG")
        if not named:
            return {}
        directory = Path(named)
    path = directory / "config.json"
    try:
        auths = json.loads(path.read_text(encoding="utf-8")).get("auths") or {}
        return {
            _host_of(server): _user(entry) for server, entry in auths.items() if entry.get("auth")
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, binascii.Error) as error:
        raise RegistryError(f"{path} is not a docker configuration with auths: {error}") from error


def _host_of(server: str) -> str:
    host = server.removeprefix("https://").removeprefix("http://").partition("/")[0].lower()
    return DEFAULT_REGISTRY if host in _HUB_NAMES else host


def _user(entry: Mapping[str, Any]) -> tuple[str, str]:
    user, _, password = base64.b64decode(entry["auth"], validate=True).decode().partition(":")
    return user, password


def _basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


async def resolve(image: ImageReference, credentials: Credentials, *, seconds: float) -> str:
    """Return the digest that the tag of an image has now; without a tag, that of `latest`. Raises RegistryError."""
    async with reading(image, credentials, seconds=seconds) as repository:
        return await repository.digest()


@asynccontextmanager
async def reading(
    image: ImageReference, credentials: Credentials, *, seconds: float
) -> AsyncIterator[Repository]:
    """Read the repository of an image. Raises RegistryError, also when that takes longer."""
    try:
        async with (
            asyncio.timeout(seconds),
            aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as session,
        ):
            yield Repository(session, image, credentials.get(image.registry))
    except TimeoutError as error:
        raise RegistryError(f"{image.registry} did not answer within {seconds:g} s") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise RegistryError(
            f"{image.registry}: {' '.join(str(error).split()) or type(error).__name__}"
        ) from error


class Repository:
    """The repository of one image, read with the token that its registry requires."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        image: ImageReference,
        user: tuple[str, str] | None,
    ) -> None:
        self._session = session
        self._image = image
        self._user = user
        self._base = _base(image.registry)
        self._headers: dict[str, str] = {}

    async def digest(self) -> str:
        """Return the digest that the tag of the image has now. Raises RegistryError."""
        path = f"manifests/{self._image.tag or 'latest'}"
        async with self._get(path, MANIFEST_TYPES) as response:
            return await _digest(response, self._image)

    async def manifest(self, reference: str) -> Mapping[str, Any] | None:
        """Return the manifest of a tag or digest, None when it does not exist. Raises RegistryError.

        The bytes of one named by its digest have this digest.
        """
        body = await self._body(f"manifests/{reference}", MANIFEST_TYPES, _MAX_MANIFEST_BYTES)
        if body is None:
            return None
        if ":" in reference:
            _check(body, reference, self._image)
        return _object(body, f"manifest {reference} of {self._image.name}")

    async def referrers(self, digest: str) -> Mapping[str, Any] | None:
        """Return the index of what refers to a digest, None where there is none. Raises RegistryError.

        A registry without the API of referrers has the index under a tag, by the specification.
        """
        body = await self._body(f"referrers/{digest}", MANIFEST_TYPES[:1], _MAX_MANIFEST_BYTES)
        if body is not None:
            return _object(body, f"list of referrers of {self._image.name}")
        return await self.manifest(digest.replace(":", "-"))

    async def blob(self, digest: str, *, limit: int) -> bytes:
        """Return a blob, whose bytes have its digest. Raises RegistryError."""
        body = await self._body(f"blobs/{digest}", (), limit)
        if body is None:
            raise RegistryError(f"{self._image.registry} has no blob {digest}")
        _check(body, digest, self._image)
        return body

    async def _body(self, path: str, accept: Sequence[str], limit: int) -> bytes | None:
        async with self._get(path, accept) as response:
            if response.status == 404:
                return None
            if response.status in _REDIRECTS and path.startswith("blobs/"):
                return await self._redirected(response.headers.get("Location", ""), limit)
            if response.status != 200:
                raise RegistryError(
                    f"{self._image.registry} answered HTTP {response.status} for "
                    f"{self._image.name}/{path}"
                )
            return await _limited(response, limit, self._image.registry)

    async def _redirected(self, location: str, limit: int) -> bytes:
        """Read a blob where the registry keeps it: without its token, which is not for others."""
        url = self._base.join(URL(location))
        if url.scheme != "https" and self._base.scheme == "https":
            raise RegistryError(f"{self._image.registry} has a blob at {url}, which is not https")
        async with self._session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise RegistryError(f"{url.origin()} answered HTTP {response.status} for a blob")
            return await _limited(response, limit, str(url.origin()))

    @asynccontextmanager
    async def _get(self, path: str, accept: Sequence[str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """Get a path of the repository, with a token once the registry has asked for one."""
        url = self._base / "v2" / self._image.repository / path
        headers = {"Accept": ", ".join(accept)} if accept else {}
        async with self._session.get(
            url, headers=headers | self._headers, allow_redirects=False
        ) as response:
            if response.status != 401 or self._headers:
                yield response
                return
            challenge = response.headers.get("WWW-Authenticate", "")
        self._headers = {
            "Authorization": await _authorization(
                self._session, challenge, self._image, self._user, self._base
            )
        }
        async with self._session.get(
            url, headers=headers | self._headers, allow_redirects=False
        ) as response:
            yield response


def _check(body: bytes, digest: str, image: ImageReference) -> None:
    """Raise RegistryError for bytes that do not have the digest by which they were asked for."""
    algorithm, _, encoded = digest.partition(":")
    if algorithm not in {"sha256", "sha384", "sha512"} or (
        hashlib.new(algorithm, body).hexdigest() != encoded
    ):
        raise RegistryError(
            f"{image.registry} answered with other bytes than those of {digest[:150]}"
        )


def _object(body: bytes, shown: str) -> Mapping[str, Any]:
    found = json.loads(body)
    if not isinstance(found, dict):
        raise RegistryError(f"the {shown} is not a JSON object")
    return found


def _base(registry: str) -> URL:
    host = _HUB_HOST if registry == DEFAULT_REGISTRY else registry
    return URL(f"{'http' if _is_loopback(host) else 'https'}://{host}")


def _is_loopback(host: str) -> bool:
    """Return whether a registry is on this machine, where no TLS is expected, as container runtimes have it."""
    name = URL(f"//{host}").host or ""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


async def _digest(response: aiohttp.ClientResponse, image: ImageReference) -> str:
    if response.status == 404:
        raise RegistryError(f"{image} does not exist in {image.registry}")
    if response.status != 200:
        raise RegistryError(f"{image.registry} answered HTTP {response.status} for {image}")
    if response.content_type not in MANIFEST_TYPES:
        raise RegistryError(
            f"{image} is a {response.content_type[:100]!r}, which is not an image manifest"
        )
    body = await _limited(response, _MAX_MANIFEST_BYTES, image.registry)
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    said = response.headers.get("Docker-Content-Digest")
    if said is not None and said != digest and said != f"sha512:{hashlib.sha512(body).hexdigest()}":
        raise RegistryError(
            f"{image.registry} says that {image} is {said[:150]}, but the manifest is {digest}"
        )
    manifest = json.loads(body)
    said_type = (
        manifest.get("mediaType", response.content_type) if isinstance(manifest, dict) else None
    )
    if said_type != response.content_type:
        raise RegistryError(
            f"{image} is sent as {response.content_type}, and says that it is {said_type!r}"
        )
    return digest


async def _limited(response: aiohttp.ClientResponse, limit: int, registry: str) -> bytes:
    body = b""
    async for chunk in response.content.iter_chunked(64 * 1024):
        body += chunk
        if len(body) > limit:
            raise RegistryError(f"{registry} answered more than {limit} bytes")
    return body


async def _authorization(
    session: aiohttp.ClientSession,
    challenge: str,
    image: ImageReference,
    user: tuple[str, str] | None,
    base: URL,
) -> str:
    """Return the header that a challenge asks for. Raises RegistryError."""
    scheme, _, rest = challenge.partition(" ")
    if scheme.lower() == "basic":
        if user is None:
            raise RegistryError(
                f"{image.registry} requires a user and a password, and none is configured for it"
            )
        return _basic(*user)
    parameters = dict(_PARAMETER.findall(rest))
    if scheme.lower() != "bearer" or "realm" not in parameters:
        raise RegistryError(
            f"{image.registry} requires an authentication that is not supported: {challenge[:200]}"
        )
    realm = URL(parameters["realm"])
    if realm.scheme != "https" and not (base.scheme == "http" and _is_loopback(realm.authority)):
        raise RegistryError(f"{image.registry} requires a token from {realm}, which is not https")
    query = {"scope": f"repository:{image.repository}:pull"}
    if "service" in parameters:
        query["service"] = parameters["service"]
    headers = {} if user is None else {"Authorization": _basic(*user)}
    async with session.get(
        realm.update_query(query), headers=headers, allow_redirects=False
    ) as response:
        if response.status != 200:
            raise RegistryError(
                f"{realm.origin()} returned no token for {image.name}: HTTP {response.status}"
            )
        answer = json.loads(await _limited(response, _MAX_TOKEN_BYTES, str(realm.origin())))
    token = answer.get("token") or answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(token, str):
        raise RegistryError(f"{realm.origin()} returned no token for {image.name}")
    return f"Bearer {token}"
