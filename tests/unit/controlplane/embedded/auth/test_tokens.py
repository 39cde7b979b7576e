from __future__ import annotations

from datetime import timedelta

import pytest

from operatorkit.controlplane.embedded.auth.tokens import AUDIENCE, Tokens
from operatorkit.controlplane.embedded.local import LocalCluster
from operatorkit.controlplane.embedded.server import EmbeddedServer
from operatorkit.errors import Invalid
from operatorkit.testing import FakeClock
from tests.unit.controlplane.embedded.conftest import ACCOUNTS, SECRETS


@pytest.fixture
async def account(local: LocalCluster) -> dict[str, object]:
    return await local.create(ACCOUNTS, {"metadata": {"name": "robot"}}, namespace="default")


@pytest.fixture
def tokens(server: EmbeddedServer, clock: FakeClock) -> Tokens:
    return Tokens(server.core.storage, clock)


async def test_a_token_says_who_and_in_which_groups(tokens: Tokens, account: dict[str, object]) -> None:
    user = tokens.user(tokens.issue(account, lifetime=timedelta(hours=1)))
    assert user is not None
    assert user.name == "system:serviceaccount:default:robot"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:default")


async def test_a_token_ends_with_its_time(tokens: Tokens, account: dict[str, object], clock: FakeClock) -> None:
    token = tokens.issue(account, lifetime=timedelta(minutes=10))
    await clock.advance(601)
    assert tokens.user(token) is None


async def test_a_token_ends_with_its_account_even_when_another_takes_the_name(
    tokens: Tokens, account: dict[str, object], local: LocalCluster
) -> None:
    token = tokens.issue(account, lifetime=timedelta(hours=1))
    await local.delete(ACCOUNTS, "robot", namespace="default")
    await local.create(ACCOUNTS, {"metadata": {"name": "robot"}}, namespace="default")
    assert tokens.user(token) is None


async def test_a_token_ends_with_what_it_is_bound_to(
    local: LocalCluster, server: EmbeddedServer, account: object
) -> None:
    secret = await local.create(SECRETS, {"metadata": {"name": "s"}}, namespace="default")
    bound = {"kind": "Secret", "apiVersion": "v1", "name": "s", "uid": secret["metadata"]["uid"]}
    made = await local.create(
        ACCOUNTS, {"spec": {"boundObjectRef": bound}}, namespace="default", name="robot", subresource="token"
    )
    token = made["status"]["token"]
    assert server.authenticator.user_of_token(token).name == "system:serviceaccount:default:robot"
    await local.delete(SECRETS, "s", namespace="default")
    review = await local.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body={"spec": {"token": token}})
    assert review["status"].get("authenticated") is not True


@pytest.mark.parametrize(
    ("of_token", "asked", "accepted"),
    [
        ([], [], [AUDIENCE]),
        ([], ["vault"], None),
        (["vault"], [], None),
        (["vault"], ["vault"], ["vault"]),
        (["vault", "ci"], ["other", "ci"], ["ci"]),
    ],
)
async def test_a_review_says_for_which_of_its_audiences_a_token_is(
    local: LocalCluster, account: object, of_token: list[str], asked: list[str], accepted: list[str] | None
) -> None:
    spec = {"audiences": of_token}
    made = await local.create(ACCOUNTS, {"spec": spec}, namespace="default", name="robot", subresource="token")
    body = {"spec": {"token": made["status"]["token"], "audiences": asked}}
    review = await local.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body=body)
    assert review["status"].get("audiences") == accepted
    assert review["status"].get("authenticated", False) is (accepted is not None)


@pytest.mark.parametrize("part", [0, 1, 2])
async def test_a_token_that_was_tampered_with_is_nobodys(tokens: Tokens, account: dict[str, object], part: int) -> None:
    parts = tokens.issue(account, lifetime=timedelta(hours=1)).split(".")
    parts[part] = parts[part][:-2] + ("AA" if not parts[part].endswith("AA") else "BB")
    assert tokens.user(".".join(parts)) is None


@pytest.mark.parametrize("token", ["", "a", "a.b.c", "....", "é.é.é", "a.b." + "A" * 86])
def test_what_is_no_token_is_nobodys(tokens: Tokens, token: str) -> None:
    assert tokens.user(token) is None


async def test_a_token_for_less_than_ten_minutes_is_rejected(local: LocalCluster, account: object) -> None:
    with pytest.raises(Invalid, match="may not specify a duration less than 10 minutes"):
        await local.create(
            ACCOUNTS, {"spec": {"expirationSeconds": 5}}, namespace="default", name="robot", subresource="token"
        )
