"""mysql_sharding: sharded MariaDB that loses no acknowledged write.

What belongs here: clusters of shards, their failover and their ordered changes. What does not: pods
and volumes, which are PetSets.

    gtid       transactions and positions             members    what is observed, as values
    detection  when a primary has failed              steps      what can be done, as values
    failover   the change of a primary, and what to do next for one shard: plan(ObservedShard)
    fence      which members are fenced, and who may become the primary
    upkeep     the repairs while the primary does not change
    rollout_plan       the ordered change of configuration and version, within a shard and over shards
    server_variables   what MariaDB accepts in its option file, and what changes without a restart
"""
