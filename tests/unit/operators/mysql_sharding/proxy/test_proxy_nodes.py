"""What changes a node, and its objects."""

from __future__ import annotations

import base64

from operatorkit.resource import ObjectMeta
from operators.mysql_sharding.api import MysqlCluster, MysqlClusterSpec, Proxy
from operators.mysql_sharding.proxy.nodes import NOWHERE, Server, Wanted, server_statements
from operators.mysql_sharding.proxy.objects import LABEL_PROXY, proxy_objects

PASSWORDS = {"root": "r-secret", "operator": "o-secret", "proxy": "p-secret"}


def wanted(**servers):
    return Wanted(servers=servers, password="p", databases=("shop",), tables={}, users=())


def servers(**hosts):
    return {name: Server(host, password="p") for name, host in hosts.items()}


def test_nothing_is_sent_to_a_node_that_is_right():
    assert server_statements(wanted(b00="10.0.0.1"), servers(b00="10.0.0.1")) == []


def test_only_the_buckets_of_a_changed_primary_are_replaced():
    found = servers(b00="10.0.0.1", b01="10.0.0.2")
    statements = server_statements(wanted(b00="10.0.0.3", b01="10.0.0.2"), found)
    assert [values[0] for _, values in statements] == ["10.0.0.3"]
    assert statements[0][0].startswith("CREATE OR REPLACE SERVER `b00` ")


def test_a_server_without_address_stays_where_it_was():
    assert server_statements(wanted(b00=""), servers(b00="10.0.0.1")) == []
    [created] = server_statements(wanted(b00=""), {})
    assert created[1][0] == NOWHERE


def test_a_changed_password_replaces_every_server_and_unknown_ones_are_dropped():
    found = {"b00": Server("10.0.0.1", password="old"), "x": Server("10.0.0.9")}
    statements = [statement for statement, _ in server_statements(wanted(b00="10.0.0.1"), found)]
    assert statements[1:] == ["DROP SERVER IF EXISTS `x`"]


def test_no_password_is_shown():
    assert "secret" not in repr(Wanted({}, "secret", (), {}, ()))
    assert "secret" not in repr(Server("h", password="secret"))


def test_a_fingerprint_changes_with_each_part():
    one = wanted(b00="h")
    others = [
        wanted(b00="i"),
        Wanted(one.servers, "q", ("shop",), {}, ()),
        Wanted(one.servers, "p", ("shop",), None, ()),
    ]
    assert len({each.fingerprint for each in (one, *others)}) == 4


def cluster(**spec):
    return MysqlCluster(metadata=ObjectMeta(name="shop", namespace="prod"), spec=MysqlClusterSpec(**spec))


def test_a_cluster_without_a_proxy_has_no_objects_of_one():
    assert proxy_objects(cluster(), {}) == []


def test_a_node_is_ready_only_with_the_mark_that_its_start_removes():
    secret, config, service, _, pods = proxy_objects(cluster(proxy=Proxy(replicas=3)), PASSWORDS)
    init = base64.b64decode(secret.data["init.sql"]).decode().split(";\n")
    assert "DROP TABLE IF EXISTS operatorkit.configured" in init
    assert init.index("FLUSH PRIVILEGES") < init.index(
        "CREATE USER IF NOT EXISTS 'operatorkit'@'%' IDENTIFIED BY 'o-secret'"
    )
    [container] = pods.spec.template.spec.containers
    assert container.readiness_probe._exec.command[-1] == "--execute=SELECT 1 FROM operatorkit.configured"
    assert service.metadata.name == "shop"
    assert service.spec.selector == pods.spec.selector.match_labels == {LABEL_PROXY: "shop"}
    assert "plugin_load_add=ha_spider\n" in config.data["my.cnf"]


def test_a_changed_option_replaces_the_nodes_and_cannot_replace_one_of_the_operator():
    def template(**config):
        objects = proxy_objects(cluster(proxy=Proxy(config=config)), PASSWORDS)
        return objects[1].data["my.cnf"], objects[-1].spec.template.metadata.annotations

    text, before = template()
    changed, after = template(max_connections=500, spider_internal_xa="OFF")
    assert "\nmax_connections=500\n" in changed
    assert "spider_internal_xa=ON\n" in changed
    assert "spider_internal_xa=OFF" not in changed
    assert before != after
    assert "\nmax_connections=" not in text
