"""mysql_sharding: sharded MariaDB that loses no acknowledged write.

What belongs here: clusters of shards, their failover and their ordered changes. What does not: pods
and volumes, which are PetSets.
"""

from __future__ import annotations

import operators.mysql_sharding.reconcile  # noqa: F401 - declares the reconcile functions
from operators.mysql_sharding.api import MysqlCluster, MysqlDatabase
from operators.mysql_sharding.app import app

__all__ = ["MysqlCluster", "MysqlDatabase", "app"]
