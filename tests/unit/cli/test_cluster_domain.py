"""The cluster domain is that of the Pod's resolver."""

from __future__ import annotations

import pytest

from operatorkit.cli._cluster_domain import cluster_domain_in, find_cluster_domain


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\n", "cluster.local"),
        ("nameserver 10.96.0.10\nsearch a.svc.corp.example. svc.corp.example. corp.example.\n", "corp.example"),
        ("search svc.svc.x svc.x x example.com", "x"),
        ("search example.com corp.example", None),
        ("search svc.example.com", None),
        ("domain svc.x", None),
        ("", None),
        ("\n# search svc.x x\n", None),
    ],
)
def test_the_domain_is_what_follows_svc_in_the_search_list(text, domain):
    assert cluster_domain_in(text) == domain


def test_without_a_file_there_is_no_domain(tmp_path):
    assert find_cluster_domain(tmp_path / "resolv.conf") is None
