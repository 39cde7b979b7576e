"""`operatorkit mysql` on a cluster whose servers do not run: what it reads, changes and rejects."""

from __future__ import annotations

import asyncio
import re

import pytest
from click.testing import CliRunner

from operatorkit.errors import InputError
from operatorkit.kinds import PODS
from operatorkit.testing import eventually

pytest.importorskip("asyncmy", reason="needs the driver: pip install operatorkit[mysql]")

from operators.mysql_sharding import MysqlBackup, MysqlCluster, MysqlDatabase, app
from operators.mysql_sharding.cli import command

CLUSTERS, DATABASES = MysqlCluster.api_resource(), MysqlDatabase.api_resource()
BACKUPS = MysqlBackup.api_resource()


@pytest.fixture
async def mysql(cluster, operator, controlplane, tmp_path):
    """Return a function that runs a command, beside a cluster named shop."""
    kubeconfig = str(controlplane.write_kubeconfig(tmp_path / "kubeconfig"))

    async def run(*words):
        line = [*words, "--kubeconfig", kubeconfig, "-n", cluster.namespace]
        done = await asyncio.to_thread(CliRunner().invoke, command, line)
        if isinstance(done.exception, InputError):
            raise done.exception
        assert done.exit_code == 0, (done.output, done.exception)
        return done.output

    body = {
        "apiVersion": MysqlCluster.api_version,
        "kind": "MysqlCluster",
        "metadata": {"name": "shop"},
        "spec": {"config": {"back_log": 60}},
    }
    async with operator(app):
        await cluster.create(CLUSTERS, body, namespace=cluster.namespace)
        await eventually(lambda: cluster.get(DATABASES, "shop0", namespace=cluster.namespace))
        yield run


async def test_status_shows_the_shards(mysql):
    output = await mysql("status", "shop")
    assert output.startswith("Name:      shop\n")
    assert re.search(r"shop0   <none>    [01]       0/3", output)  # its bootstrap may have begun


async def test_rollback_restores_an_older_revision(cluster, mysql):
    with pytest.raises(InputError, match="no older revision"):
        await mysql("rollback", "shop")
    change = {"spec": {"config": {"back_log": 70}}}
    await cluster.patch(CLUSTERS, "shop", change, patch_type="merge", namespace=cluster.namespace)

    async def recorded():
        found = await cluster.get(CLUSTERS, "shop", namespace=cluster.namespace)
        status = found["status"]
        assert status["observedGeneration"] == found["metadata"]["generation"], status
        assert status["updateRevision"] != status["currentRevision"], status
        return status

    status = await eventually(recorded)
    with pytest.raises(InputError, match="no revision 9: it has 1"):
        await mysql("rollback", "shop", "--to", "9")
    assert status["currentRevision"] in await mysql("rollback", "shop", "--to", "1")
    found = await cluster.get(CLUSTERS, "shop", namespace=cluster.namespace)
    assert str(found["spec"]["config"]["back_log"]) == "60"


async def test_switchover_and_failover_name_what_is_possible(cluster, mysql):
    with pytest.raises(InputError, match="use one of shop0-0, shop0-1, shop0-2"):
        await mysql("switchover", "shop0", "--to", "shop0-7")
    await mysql("switchover", "shop0", "--to", "shop0-2")
    found = await cluster.get(DATABASES, "shop0", namespace=cluster.namespace)
    assert found["spec"]["switchoverTo"] == "shop0-2"
    with pytest.raises(InputError, match="no replica that could be promoted"):
        await mysql("failover", "shop0")
    with pytest.raises(InputError, match="there is no MysqlDatabase shop9"):
        await mysql("sql", "shop9", "SELECT 1")
    with pytest.raises(InputError, match="has no primary"):
        await mysql("sql", "shop0", "SELECT 1")
    assert (await cluster.list(PODS, namespace=cluster.namespace)).items == []


async def test_backup_and_restore_create_objects_and_name_what_is_possible(cluster, mysql):
    with pytest.raises(InputError, match="name a claim with --claim"):
        await mysql("backup", "shop")
    assert "mysqlbackup/first created" in await mysql("backup", "shop", "--claim", "backups", "--as", "first")
    with pytest.raises(InputError, match="choose another --as"):
        await mysql("backup", "shop", "--claim", "backups", "--as", "first")
    with pytest.raises(InputError, match="has no completed MysqlBackup"):
        await mysql("restore", "shop", "--as", "copy")
    shards = [{"shard": "shop0", "member": "shop0-1", "completedAt": "2026-01-02T03:00:00Z"}]
    status = {"status": {"phase": "Completed", "path": "shop/first", "shards": shards}}
    await cluster.patch(BACKUPS, "first", status, patch_type="merge", namespace=cluster.namespace, subresource="status")
    with pytest.raises(InputError, match="no time zone"):
        await mysql("restore", "shop", "--as", "copy", "--to", "2026-01-02T03:00:00")
    with pytest.raises(InputError, match="the first one is of 2026-01-02T03:00:00Z"):
        await mysql("restore", "shop", "--as", "copy", "--to", "2026-01-02T02:59:59Z")
    with pytest.raises(InputError, match="there are first"):
        await mysql("restore", "shop", "--as", "copy", "--backup", "second")
    output = await mysql("restore", "shop", "--as", "copy", "--to", "2026-01-02T05:00:00+01:00")
    assert "mysqlcluster/copy is restored from first" in output
    found = await cluster.get(CLUSTERS, "copy", namespace=cluster.namespace)
    assert found["spec"]["restoreFrom"] == {"backup": "first", "pointInTime": "2026-01-02T04:00:00Z"}
    assert str(found["spec"]["config"]["back_log"]) == "60"
    with pytest.raises(InputError, match="not overwritten"):
        await mysql("restore", "shop", "--as", "shop")
