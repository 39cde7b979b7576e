"""mysql_sharding: sharded MariaDB that loses no acknowledged write.

What belongs here: clusters of shards, their failover and their ordered changes. What does not: pods
and volumes, which are PetSets.

    api        the kinds MysqlCluster, MysqlDatabase    reasons    the words of conditions and Events
    objects    members, Services, configuration         reconcile  keeping these objects
    gtid       transactions and positions               members    what is observed, as values
    detection  when a primary has failed                steps      what can be done, as values
    failover   the change of a primary                  status     what is persisted of it
    fence      who may become the primary               report     what is reported of it
    upkeep     repairs while it does not change         accounts   databases and users of applications
    sql        the driver, behind a protocol            observe    reading the servers of a shard
    execute    one step, by SQL or by a request         shards     the loop of each shard
    admission  what is rejected before it is stored
    backup             backups, restores, and copies of a member's data
    proxy              one address for all shards: tables in buckets, and the nodes that find them
    reshard            buckets that move to other shards
    cli                operatorkit mysql; cli_backups its backup and restore, cli_objects what they read
    tasks              a task for each shard and each cluster
    revision           what is rolled, and with what members start meanwhile
    rollout_plan       the order of a change within a shard
    rollout_cluster    the order of a change over the shards
    rollout_state      what is persisted of it within a shard
    rollout_shards     revisions, and which shard has which
    rollout_observe    what a rollout sees of a shard
    rollout_shard      executing it
    copies             whether a backup or a restore is under way
    server_variables   what MariaDB accepts in its option file, and what changes without a restart
    variable_values    whether a server runs a variable as it was configured
"""

from __future__ import annotations

import operators.mysql_sharding.backup.reconcile
import operators.mysql_sharding.proxy.loop
import operators.mysql_sharding.reconcile
import operators.mysql_sharding.reshard.loop
import operators.mysql_sharding.shards  # noqa: F401 - declares the loop of each shard
from operators.mysql_sharding.api import MysqlCluster, MysqlDatabase
from operators.mysql_sharding.app import app
from operators.mysql_sharding.backup.api import MysqlBackup

__all__ = ["MysqlBackup", "MysqlCluster", "MysqlDatabase", "app"]
