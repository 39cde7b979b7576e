"""mysql_sharding: sharded MariaDB that loses no acknowledged write.

What belongs here: clusters of shards, their failover and their ordered changes. What does not: pods
and volumes, which are PetSets.

    gtid       transactions and positions             members    what is observed, as values
    detection  when a primary has failed              steps      what can be done, as values
    failover   what to do next for one shard
"""
