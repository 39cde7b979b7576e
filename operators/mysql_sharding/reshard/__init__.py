"""Resharding: buckets move to other shards, one after the other, while applications write.

What belongs here: which bucket moves next, and how one bucket moves. What does not: where the nodes
of the proxy send statements (`proxy`), and the primaries of the shards.

    balance     which bucket moves next          plan      the next step of a move
    statements  tables, triggers, rows as SQL    copy      rows from one shard to another
    execute     one step, by SQL                 loop      the loop of each cluster
    api         what the status holds

The steps of a move are drawn in `plan`.
"""
