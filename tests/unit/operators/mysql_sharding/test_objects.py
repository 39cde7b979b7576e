"""The objects of a shard."""

from __future__ import annotations

import base64
import configparser

import pytest

from operatorkit.resource import ObjectMeta
from operators.mysql_sharding.api import (
    Durability,
    MysqlCluster,
    MysqlClusterSpec,
    MysqlDatabase,
    MysqlDatabaseSpec,
    Storage,
)
from operators.mysql_sharding.objects import (
    LOCK_ALL,
    accounts_of,
    config_of,
    member_host,
    member_names,
    pets_of,
    services_of,
    shard_of,
)

PASSWORDS = {"root": "r-secret", "operator": "o-secret", "replication": "p-secret"}


def shard(**spec):
    return MysqlDatabase(metadata=ObjectMeta(name="shop0", namespace="prod"), spec=MysqlDatabaseSpec(**spec))


def variables(one):
    parser = configparser.RawConfigParser(strict=False)
    text, _, included = config_of(one).data["my.cnf"].partition("!include ")
    assert included == "/var/lib/mysql/data/operatorkit.cnf\n", "the server id belongs to the data"
    parser.read_string(text)
    return dict(parser["mariadbd"])


def test_a_cluster_has_a_shard_for_each_number_with_what_all_share():
    cluster = MysqlCluster(
        metadata=ObjectMeta(name="clustershard-c", namespace="prod"),
        spec=MysqlClusterSpec(
            shards=8, replicas_per_shard=5, storage=Storage(size="1Gi"), config={"max_connections": 7}
        ),
    )
    found = [shard_of(cluster, number) for number in range(cluster.spec.shards)]
    assert [one.metadata.name for one in found] == [f"clustershard-c{number}" for number in range(8)]
    assert {one.metadata.namespace for one in found} == {"prod"}
    assert {(one.spec.replicas, one.spec.storage.size) for one in found} == {(5, "1Gi")}
    assert found[0].spec.config == {"max_connections": 7}


def test_servers_start_as_replicas_that_accept_nothing_and_wait_for_acknowledgements():
    found = variables(shard())
    assert (found["read_only"], found["skip_slave_start"], found["init_rpl_role"]) == ("ON", "ON", "MASTER")
    assert (found["sync_binlog"], found["innodb_flush_log_at_trx_commit"]) == ("1", "1")
    assert found["gtid_strict_mode"] == found["log_slave_updates"] == "ON"
    assert found["rpl_semi_sync_master_wait_point"] == "AFTER_SYNC"
    assert found["rpl_semi_sync_master_wait_no_slave"] == "ON"
    assert int(found["rpl_semi_sync_master_timeout"]) >= 3_600_000
    assert found["init_file"].endswith("init.sql")


@pytest.mark.parametrize("spec", [{"replicas": 1}, {"durability": Durability(allow_async=True)}])
def test_a_shard_without_acknowledgements_has_no_semi_sync(spec):
    assert not [name for name in variables(shard(**spec)) if "semi_sync" in name]


def test_variables_of_the_user_never_replace_those_of_the_operator():
    found = variables(shard(config={"max_connections": 500, "read_only": "OFF"}))
    assert (found["max_connections"], found["read_only"]) == ("500", "ON")


def test_services_select_the_role_that_the_operator_sets_and_the_headless_one_selects_all():
    headless, writes, reads = services_of(shard())
    names = [service.metadata.name for service in (headless, writes, reads)]
    assert names == ["shop0", "shop0-rw", "shop0-ro"]
    assert headless.spec.cluster_ip == "None"
    assert headless.spec.publish_not_ready_addresses
    everyone = {"mysql.operatorkit.dev/shard": "shop0"}
    assert headless.spec.selector == everyone
    assert writes.spec.selector == {**everyone, "mysql.operatorkit.dev/role": "primary"}
    assert reads.spec.selector == {**everyone, "mysql.operatorkit.dev/role": "replica"}


def test_the_accounts_are_made_outside_the_binary_log_and_all_others_are_locked_last():
    secret = accounts_of(shard(), PASSWORDS)
    data = {name: base64.b64decode(value).decode() for name, value in secret.data.items()}
    assert {name: data[name] for name in PASSWORDS} == PASSWORDS
    lines = data["init.sql"].splitlines()
    assert lines[0] == "SET SESSION sql_log_bin = 0;"
    assert lines[-2:] == [f"{LOCK_ALL};", "FLUSH PRIVILEGES;"]
    naming = [line for line in lines if "operatorkit.process" in line]
    assert naming[-1] == "REPLACE INTO operatorkit.process VALUES (1, UUID());", "each start has a name of its own"
    assert "root" in LOCK_ALL
    assert "'operatorkit'" in LOCK_ALL


def test_pods_are_replaced_only_by_the_operator_and_need_nothing_of_an_entrypoint():
    pets = pets_of(shard(storage=Storage(size="5Gi", class_name="fast")))
    assert pets.spec.update_strategy == {"type": "OnDelete"}
    pod = pets.spec.template["spec"]
    [server] = pod["containers"]
    assert server["command"][0] == "mariadbd"
    assert "--bind-address=$(POD_IP)" in server["command"]
    assert pod["securityContext"]["runAsNonRoot"]
    probes = [server[name]["exec"]["command"] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert all(command[0] == "mariadb" for command in probes), "a probe sends a query"
    assert "mysql.operatorkit.dev/role" not in pets.spec.template["metadata"]["labels"]
    [claim] = pets.spec.volume_claim_templates
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"]["storage"] == "5Gi"


def test_members_keep_their_names():
    assert member_names(shard(replicas=2)) == ["shop0-0", "shop0-1"]
    assert member_host(shard(), "shop0-1") == "shop0-1.shop0.prod.svc"
