"""The digest of a tag: from real registries, with tokens, of indexes; and what registries that lie achieve."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json

import aiohttp
import pytest
from aiohttp import web
from registries import INDEX, MANIFEST, build, find, lying, manifest, running, token_server

from operators.attestation.images import parse_image
from operators.attestation.registry import MANIFEST_TYPES, RegistryError, credentials_from, resolve

OCI_MANIFEST = manifest("sha256:" + "a" * 64, 2)
DIGEST = f"sha256:{hashlib.sha256(OCI_MANIFEST).hexdigest()}"
PATH = "/v2/team/app/manifests/v1"


async def digest_of(reference, credentials=None, seconds=5.0):
    return await resolve(parse_image(reference), credentials or {}, seconds=seconds)


@pytest.fixture(params=["go-containerregistry", "distribution"])
def real(request):
    name = request.param
    if (build(name) if name == "go-containerregistry" else find(name)) is None:
        pytest.skip(f"{name} is built by PYTHONPATH=tests python -m registries, which needs Go")
    return name


async def test_a_real_registry_has_the_digest_of_a_tag_and_of_an_index(real, tmp_path):
    async with running(real, tmp_path) as registry:
        image = await registry.push_image("team/app", "v1")
        index = await registry.push_index("team/app", "multi")
        assert await digest_of(f"{registry.host}/team/app:v1") == image
        assert await digest_of(f"{registry.host}/team/app:multi") == index
        moved = await registry.push_image("team/app", "v1")
        assert moved != image
        assert await digest_of(f"{registry.host}/team/app:v1") == moved
        latest = await registry.push_image("team/app", "latest")
        assert await digest_of(f"{registry.host}/team/app") == latest
        with pytest.raises(RegistryError, match=r"team/app:none does not exist in 127\.0\.0\.1"):
            await digest_of(f"{registry.host}/team/app:none")


async def test_a_real_registry_that_wants_tokens_gets_them(tmp_path):
    if find("distribution") is None:
        pytest.skip("the CNCF's registry is built by PYTHONPATH=tests python -m registries, which needs Go")
    async with (
        token_server(tmp_path, {"ann": "secret"}) as realm,
        running("distribution", tmp_path, realm=realm) as registry,
    ):
        await _log_in(registry, realm, "public/app")
        public = await registry.push_image("public/app", "v1")
        await _log_in(registry, realm, "team/app")
        private = await registry.push_image("team/app", "v1")
        assert await digest_of(f"{registry.host}/public/app:v1") == public
        with pytest.raises(RegistryError, match="answered HTTP 401"):
            await digest_of(f"{registry.host}/team/app:v1")
        known = {registry.host: ("ann", "secret")}
        assert await digest_of(f"{registry.host}/team/app:v1", known) == private
        with pytest.raises(RegistryError, match=r"returned no token for .*team/app: HTTP 401"):
            await digest_of(f"{registry.host}/team/app:v1", {registry.host: ("ann", "wrong")})


async def _log_in(registry, realm, repository):
    query = {"scope": f"repository:{repository}:pull,push", "service": "registry.test"}
    async with (
        aiohttp.ClientSession(
            headers={"Authorization": "Basic " + base64.b64encode(b"ann:secret").decode()}
        ) as session,
        session.get(realm, params=query) as answer,
    ):
        registry.headers = {"Authorization": f"Bearer {(await answer.json())['token']}"}


def answering(body=OCI_MANIFEST, type_=MANIFEST, status=200, **headers):
    async def answer(request):
        del request
        return web.Response(
            body=body,
            status=status,
            headers={"Content-Type": type_, **{name.replace("_", "-"): value for name, value in headers.items()}},
        )

    return answer


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (answering(Docker_Content_Digest="sha256:" + "b" * 64), f"but the manifest is {DIGEST}"),
        (answering(Docker_Content_Digest=""), "but the manifest is"),
        (answering(body=b"x" * (4 * 1024 * 1024 + 1)), "answered more than 4194304 bytes"),
        (answering(type_="text/html"), "'text/html', which is not an image manifest"),
        (answering(type_="application/vnd.docker.distribution.manifest.v1+prettyjws"), "is not an image manifest"),
        (answering(type_=INDEX), f"is sent as {INDEX}, and says that it is '{MANIFEST}'"),
        (answering(body=b"[]"), "says that it is None"),
        (answering(body=b"{"), "Expecting property name"),
        (answering(status=500), "answered HTTP 500"),
        (answering(status=307, Location="http://127.0.0.1:1/"), "answered HTTP 307"),
        (answering(status=401), "not supported"),
        (answering(status=401, WWW_Authenticate="Negotiate"), "not supported: Negotiate"),
        (answering(status=401, WWW_Authenticate='Basic realm="x"'), "requires a user and a password"),
        (answering(status=401, WWW_Authenticate='Bearer realm="http://example.com/t"'), "is not https"),
        (answering(status=401, WWW_Authenticate='Bearer realm="file:///etc/passwd"'), "is not https"),
        (answering(status=401, WWW_Authenticate='Bearer service="x"'), "not supported"),
    ],
)
async def test_a_registry_that_lies_or_fails_resolves_nothing(answer, message):
    async with lying() as (host, registry):
        registry.answers[PATH] = answer
        with pytest.raises(RegistryError) as error:
            await digest_of(f"{host}/team/app:v1")
        assert message in str(error.value)


async def test_a_registry_without_the_header_and_one_with_another_algorithm_are_believed_by_their_bytes():
    async with lying() as (host, registry):
        registry.answers[PATH] = answering()
        assert await digest_of(f"{host}/team/app:v1") == DIGEST
        registry.answers[PATH] = answering(Docker_Content_Digest=f"sha512:{hashlib.sha512(OCI_MANIFEST).hexdigest()}")
        assert await digest_of(f"{host}/team/app:v1") == DIGEST


async def test_a_registry_that_is_slow_is_given_up():
    async with lying() as (host, registry):
        release = asyncio.Event()

        async def slow(request):
            del request
            await release.wait()
            return web.Response()

        registry.answers[PATH] = slow
        with pytest.raises(RegistryError, match=r"did not answer within 0\.2 s"):
            await digest_of(f"{host}/team/app:v1", seconds=0.2)
        release.set()


async def test_nothing_listens():
    async with lying() as (host, _):
        pass
    with pytest.raises(RegistryError, match=r"127\.0\.0\.1:\d+: Cannot connect"):
        await digest_of(f"{host}/team/app:v1")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (web.json_response, "returned no token"),
        (lambda _: web.json_response({"token": 5}), "returned no token"),
        (lambda _: web.Response(status=403), "returned no token for"),
        (lambda _: web.Response(text="x"), "Expecting value"),
        (lambda _: web.Response(body=b" " * (1024 * 1024 + 1)), "more than 1048576 bytes"),
    ],
)
async def test_a_token_server_that_fails_resolves_nothing(answer, message):
    async with lying() as (host, registry):
        challenge = f'Bearer realm="http://{host}/token",service="s"'
        registry.answers[PATH] = answering(status=401, WWW_Authenticate=challenge)

        async def token(request):
            del request
            return answer({})

        registry.answers["/token"] = token
        with pytest.raises(RegistryError) as error:
            await digest_of(f"{host}/team/app:v1")
        assert message in str(error.value)


def test_users_are_read_from_a_docker_configuration(tmp_path):
    def entry(user):
        return {"auth": base64.b64encode(user.encode()).decode()}

    auths = {
        "https://index.docker.io/v1/": entry("ann:a:b"),
        "Registry.Example:5000": entry("bob:"),
        "helper.example": {},
    }
    (tmp_path / "config.json").write_text(json.dumps({"auths": auths}))
    assert credentials_from(tmp_path) == {"docker.io": ("ann", "a:b"), "registry.example:5000": ("bob", "")}
    assert credentials_from(tmp_path / "none") == {}
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(RegistryError, match="is not a docker configuration"):
        credentials_from(tmp_path)


def test_the_accepted_manifests_are_those_of_images():
    assert {INDEX, MANIFEST} < set(MANIFEST_TYPES)
