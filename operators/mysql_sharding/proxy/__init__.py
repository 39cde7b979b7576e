"""The proxy of a sharded cluster: MariaDB servers with the Spider engine, and the buckets behind it.

What belongs here: tables that are spread over the shards, and the nodes that serve them as one. What
does not: the shards themselves, and the change of their primaries.

    buckets   which shard holds which bucket       ddl       statements for tables, on shards and nodes
    tables    what is rejected of tables           objects   pods, Service and configuration of the nodes
    nodes     what a node shall have, and the diff to what it has
    shards    the primaries of the shards: tables in each bucket
    configure a node, by SQL                       loop      the loop of each cluster
    transactions  which stayed prepared: the rule  resolver  ending them, by SQL

        spec.tables, status.bucketMap
              │
              ├──> every bucket of every shard, or none while one shard cannot take it
              │         database_b07.table on the primary of the shard that holds bucket 7
              └──> every node, afterwards
                        SERVER b07 -> address of that primary; table in 64 partitions, one a bucket
"""
