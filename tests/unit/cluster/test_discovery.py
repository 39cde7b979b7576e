import asyncio

import pytest

from operatorkit import errors
from operatorkit.names import ApiResource


def aggregated(*groups):
    return {
        "kind": "APIGroupDiscoveryList",
        "items": [
            {
                "metadata": {"name": group},
                "versions": [
                    {
                        "version": version,
                        "resources": [{"resource": plural, "scope": scope, "responseKind": {"kind": kind}}],
                    }
                    for version in versions
                ],
            }
            for group, versions, plural, kind, scope in groups
        ],
    }


CORE = aggregated(("", ["v1"], "pods", "Pod", "Namespaced"))
PKI = aggregated(("pki.dev", ["v1", "v1beta1"], "issuers", "Issuer", "Namespaced"))


async def test_a_kind_is_found_in_two_requests_and_then_remembered(api, server, given):
    server.answers(given.answer(CORE), given.answer(PKI))
    assert await api.resolve("", "Pod") == ApiResource("", "v1", "Pod", "pods", namespaced=True)
    assert (await api.resolve("pki.dev", "Issuer")).version == "v1"
    assert (await api.resolve("pki.dev", "Issuer", "v1beta1")).version == "v1beta1"
    assert server.requests == [("GET", "/api"), ("GET", "/apis")]


async def test_a_kind_that_came_later_is_found(api, server, given):
    server.answers(given.answer(CORE), given.answer(aggregated()), given.answer(CORE), given.answer(PKI))
    with pytest.raises(
        errors.NoKindMatch, match=r"no kind 'Issuer' in group 'pki\.dev', version 'v1'; that group is not"
    ):
        await api.resolve("pki.dev", "Issuer", "v1")
    assert (await api.resolve("pki.dev", "Issuer", "v1")).plural == "issuers"


async def test_many_who_look_at_once_share_the_requests(api, server, given):
    server.answers(given.answer(CORE), given.answer(PKI))
    await asyncio.gather(*(api.resolve("pki.dev", "Issuer") for _ in range(20)))
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("group", "kind", "version", "hint"),
    [
        ("pki.dev", "Issuer", "v2", "it is served in version v1, v1beta1"),
        ("pki.dev", "Issue", None, "that group has Issuer"),
        ("", "Nod", None, r"core \(the empty group\)'; that group has Pod"),
    ],
)
async def test_what_is_there_instead_is_named(api, server, given, group, kind, version, hint):
    server.answers(given.answer(CORE), given.answer(PKI))
    with pytest.raises(errors.NoKindMatch, match=hint):
        await api.resolve(group, kind, version)


async def test_a_server_without_aggregated_discovery_is_asked_group_by_group(api, server, given):
    groups = {
        "kind": "APIGroupList",
        "groups": [
            {
                "name": "apps",
                "preferredVersion": {"version": "v1"},
                "versions": [{"version": "v1beta1"}, {"version": "v1"}],
            },
            {"name": "down.dev", "preferredVersion": {"version": "v1"}, "versions": [{"version": "v1"}]},
        ],
    }

    def listed(*resources):
        return given.answer({"kind": "APIResourceList", "resources": list(resources)})

    deployments = {"name": "deployments", "kind": "Deployment", "namespaced": True}
    answers = {
        "/api": given.answer({"kind": "APIVersions", "versions": ["v1"]}),
        "/api/v1": listed({"name": "nodes", "kind": "Node"}, {"name": "nodes/status", "kind": "Node"}),
        "/apis": given.answer(groups),
        "/apis/apps/v1": listed(deployments),
        "/apis/apps/v1beta1": listed(deployments),
        "/apis/down.dev/v1": given.status(503, "ServiceUnavailable"),
    }
    server.answers(lambda request: answers[request.path](request))
    assert await api.resolve("", "Node") == ApiResource("", "v1", "Node", "nodes", namespaced=False)
    assert (await api.resolve("apps", "Deployment")).version == "v1"


async def test_a_kind_that_is_gone_is_looked_for_again(api, server, given):
    later = aggregated(("pki.dev", ["v2"], "issuers", "Issuer", "Cluster"))
    answers = [CORE, PKI, None, CORE, later]
    server.answers(
        *(given.answer("404 page not found", 404) if body is None else given.answer(body) for body in answers)
    )
    issuers = await api.resolve("pki.dev", "Issuer")
    with pytest.raises(errors.NoKindMatch):
        await api.get(issuers, "a", namespace="ns")
    assert await api.resolve("pki.dev", "Issuer") == ApiResource("pki.dev", "v2", "Issuer", "issuers", namespaced=False)
