from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operatorkit.controlplane.embedded.request.info import RequestInfo, read_request_info, verb_of


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/pods", ("", "v1", "", "pods", "", "")),
        ("/api/v1/namespaces", ("", "v1", "", "namespaces", "", "")),
        ("/api/v1/namespaces/a", ("", "v1", "a", "namespaces", "a", "")),
        ("/api/v1/namespaces/a/finalize", ("", "v1", "a", "namespaces", "a", "finalize")),
        ("/api/v1/namespaces/a/pods", ("", "v1", "a", "pods", "", "")),
        ("/api/v1/namespaces/a/pods/p/log", ("", "v1", "a", "pods", "p", "log")),
        ("/apis/apps/v1/namespaces/a/deployments/d/scale/", ("apps", "v1", "a", "deployments", "d", "scale")),
        (
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/a%3Ab",
            ("rbac.authorization.k8s.io", "v1", "", "clusterroles", "a:b", ""),
        ),
    ],
)
def test_a_path_names_a_resource(path: str, expected: tuple[str, ...]) -> None:
    found = read_request_info(path)
    assert (found.group, found.version, found.namespace, found.plural, found.name, found.subresource) == expected


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/api",
        "/apis/apps",
        "/apis/apps/v1",
        "/api/v1/namespaces/../pods",
        "/api/v1/namespaces/%2e%2e/pods",
        "/api/v1/namespaces/a/pods/b%2Fc",
        "/api/v1//pods",
        "/api/v1/pods/%00",
    ],
)
def test_anything_else_names_no_resource(path: str) -> None:
    assert read_request_info(path).plural == ""


@given(st.text())
def test_no_path_makes_reading_fail(text: str) -> None:
    assert isinstance(read_request_info(f"/{text}"), RequestInfo)


@pytest.mark.parametrize(
    ("method", "path", "query", "verb"),
    [
        ("GET", "/api/v1/pods", {}, "list"),
        ("GET", "/api/v1/pods", {"watch": "true"}, "watch"),
        ("GET", "/api/v1/watch/pods", {}, "watch"),
        ("GET", "/api/v1/namespaces/a/pods/p", {}, "get"),
        ("DELETE", "/api/v1/namespaces/a/pods", {}, "deletecollection"),
        ("DELETE", "/api/v1/namespaces/a/pods/p", {}, "delete"),
        ("POST", "/api/v1/namespaces/a/pods/p/eviction", {}, "create"),
        ("GET", "/healthz", {}, "get"),
    ],
)
def test_a_request_has_the_verb_by_which_rbac_knows_it(
    method: str, path: str, query: dict[str, str], verb: str
) -> None:
    assert verb_of(method, read_request_info(path), query) == verb
