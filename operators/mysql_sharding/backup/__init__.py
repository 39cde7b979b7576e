"""Backups of a cluster, restores into a new one, and copies of a member's data from another one.

What belongs here: the kind MysqlBackup, the pods that read and write the data of members, and when
they are created. What does not: who is the primary (`failover`), and what a member does once it has
its data.

    api        the kind MysqlBackup                      manifest   what a backup says of itself
    spec       what a MysqlCluster says about backups    check      what is rejected of it
    scripts    the commands of the pods                  pods       the pods
    plan       the next step of a backup                 reconcile  taking it
    cut        the positions of all shards at one moment
    schedule   what is due, what is deleted              keep       creating and deleting it
    archive    which binary logs are copied next         archiving  copying them
    source     what a new cluster is restored from
    seed_plan  the next step of a member without data    seeding    taking it

    MysqlBackup ──► pod on the node of a replica ──► data, manifest and checksums on a claim
                                                                   │
    member without data ──► seed pod on its node ◄── donor pod ◄── or another member
                                   │
                      verified, extracted, prepared ──► the member starts with it
"""

from __future__ import annotations
