"""Who may do what: tokens, client certificates, Kubernetes, and the permission to attach."""

from __future__ import annotations

import hashlib

import aiohttp
import pytest
import yaml

from operatorkit.errors import InputError
from operatorkit.testing import FakeClock
from operators.attestation.server.access import Caller, Credentials, read_access_file
from operators.attestation.server.errors import ApiError
from operators.attestation.server.kubernetes_access import KubernetesAccess
from operators.attestation.server.serve import Listen, serving

NOTE = {"attestation": {}}


def user(name, *grants, token=None):
    digest = hashlib.sha256((token or f"token-{name}").encode()).hexdigest()
    return {"name": name, "tokenSHA256": digest, "grants": list(grants)}


def grant(projects, verbs, resources=None):
    return {"projects": projects, "verbs": verbs, **({"resources": resources} if resources else {})}


@pytest.fixture
def access_file(tmp_path):
    def write(*users):
        path = tmp_path / "access.yaml"
        path.write_text(yaml.safe_dump({"users": list(users)}))
        return path

    return write


@pytest.fixture
async def guarded(tmp_path, access_file):
    users = [
        user("admin", grant(["*"], ["*"])),
        user("ci", grant(["prod"], ["create", "get", "list"])),
        user("attester", grant(["prod"], ["create"], ["occurrences"]), grant(["prod"], ["attach"], ["notes"])),
    ]
    access = read_access_file(access_file(*users))
    async with (
        serving(f"sqlite:///{tmp_path}/a.db", access, Listen(port=0), clock=FakeClock()) as server,
        aiohttp.ClientSession() as session,
    ):

        async def call(who, method, path, body=None):
            headers = {} if who is None else {"Authorization": f"Bearer token-{who}"}
            async with session.request(method, server.url() + path, json=body, headers=headers) as answer:
                return answer.status, await answer.json()

        yield call


async def test_a_caller_needs_a_known_token(guarded):
    for who in (None, "nobody"):
        status, body = await guarded(who, "GET", "/v1/projects/prod/notes")
        assert (status, body["code"]) == (401, 16)


async def test_a_grant_is_for_exactly_its_project(guarded):
    assert (await guarded("ci", "POST", "/v1/projects/prod/notes?noteId=a", NOTE))[0] == 200
    for path in ("/v1/projects/prod-evil/notes", "/v1/projects/pro/notes", "/v1beta1/projects"):
        status, body = await guarded("ci", "GET", path)
        assert (status, body["error"]["status"]) == (403, "PERMISSION_DENIED")
    assert (await guarded("ci", "DELETE", "/v1/projects/prod/notes/a"))[0] == 403


async def test_attaching_to_a_note_is_a_permission_of_its_own(guarded):
    await guarded("admin", "POST", "/v1/projects/prod/notes?noteId=qa", NOTE)
    await guarded("admin", "POST", "/v1/projects/other/notes?noteId=qa", NOTE)
    body = {"resourceUri": "https://x/y", "noteName": "projects/prod/notes/qa", "attestation": {}}
    status, answer = await guarded("ci", "POST", "/v1/projects/prod/occurrences", body)
    assert (status, answer["message"]) == (403, "'ci' may not attach notes in projects/prod")
    assert (await guarded("attester", "POST", "/v1/projects/prod/occurrences", body))[0] == 200
    status, answer = await guarded(
        "attester", "POST", "/v1/projects/prod/occurrences", {**body, "noteName": "projects/other/notes/qa"}
    )
    assert status == 403
    batch = {"occurrences": [body, {**body, "noteName": "projects/other/notes/qa"}]}
    assert (await guarded("attester", "POST", "/v1/projects/prod/occurrences:batchCreate", batch))[0] == 403


async def test_the_changes_of_all_projects_need_a_grant_for_all(guarded):
    assert (await guarded("ci", "GET", "/v1/changes"))[0] == 403
    assert (await guarded("admin", "GET", "/v1/changes"))[0] == 200


async def test_a_client_certificate_names_its_user(access_file):
    access = read_access_file(access_file({"name": "robot", "grants": [grant(["p"], ["get"])]}))
    caller = await access.authenticate(Credentials(certificate_name="robot"))
    assert await access.may(caller, "get", "notes", "p")
    assert not await access.may(caller, "get", "notes", "")
    for credentials in (Credentials(certificate_name="other"), Credentials(token="x", certificate_name="robot")):
        with pytest.raises(ApiError, match="token"):
            await access.authenticate(credentials)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "is not YAML"),
        ("users: []", "users"),
        ("users: [{name: a, token: b}]", "users.0.token"),
        ("users: [{name: a, grants: [{projects: [p], verbs: [write]}]}]", "verbs"),
        ("users: [{name: a}, {name: a}]", "two users named 'a'"),
    ],
)
def test_an_access_file_that_is_wrong_is_an_error_with_the_field(tmp_path, text, message):
    path = tmp_path / "access.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_access_file(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_access_file(tmp_path / "none")


class Reviews:
    """The two reviews of an API server."""

    def __init__(self) -> None:
        self.asked = []
        self.allowed = True

    async def create(self, resource, body):
        self.asked.append((resource.kind, body["spec"]))
        if resource.kind == "TokenReview":
            known = body["spec"]["token"] == "good"
            return {
                "status": {"authenticated": known, "audiences": ["api"], "user": {"username": "u", "groups": ["g"]}}
            }
        return {"status": {"allowed": self.allowed}}


async def test_kubernetes_is_asked_who_and_what_and_its_answer_holds_for_a_moment():
    reviews, clock = Reviews(), FakeClock()
    access = KubernetesAccess(reviews, clock=clock, audiences=("api",))
    caller = await access.authenticate(Credentials(token="good"))
    assert caller == Caller("u", ("g",))
    assert await access.may(caller, "attach", "notes", "prod")
    assert reviews.asked[-1][1]["resourceAttributes"] == {
        "group": "attest.operatorkit.dev", "resource": "notes", "verb": "attach", "namespace": "prod"
    }  # fmt: skip
    reviews.allowed = False
    assert await access.may(caller, "attach", "notes", "prod")
    await clock.advance(11)
    assert not await access.may(caller, "attach", "notes", "prod")
    for wrong in (Credentials(token="bad"), Credentials()):
        with pytest.raises(ApiError) as error:
            await access.authenticate(wrong)
        assert error.value.http_code == 401
    strangers = KubernetesAccess(reviews, clock=clock, audiences=("another",))
    with pytest.raises(ApiError, match="the token is not for another"):
        await strangers.authenticate(Credentials(token="good"))
