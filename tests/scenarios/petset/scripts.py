"""The scripts that a StatefulSet and a PetSet have in common, by topic, and where a PetSet is meant to do better.

What belongs here: what a user does. What does not: executing it (`pairs`), and what a StatefulSet did
(`statefulset.json`, recorded by the test on the real control plane).
"""

from __future__ import annotations

from scenarios.petset.pairs import BEHAVIOR, Script, Step

__all__ = ["IMPROVEMENTS", "SCRIPTS", "TOPICS"]

IMPROVEMENTS = {
    "A stuck rollout is repaired": (
        "A member of an old revision that cannot start is replaced when the template is corrected; a StatefulSet with "
        "OrderedReady waits until a user deletes the pod (kubernetes/kubernetes#67250)."
    ),
    "maxUnavailable": (
        "A PetSet updates as many members at a time as maxUnavailable allows, and removes them highest ordinal first; a "
        "StatefulSet goes one by one unless the cluster turns on the feature gate MaxUnavailableStatefulSet."
    ),
    "Members of a deleted set go in order": (
        "A deleted PetSet removes its members highest ordinal first and one by one, unless `deletion` is Parallel; the "
        "pods of a deleted StatefulSet are garbage, deleted in any order."
    ),
}

PARALLEL = {"podManagementPolicy": "Parallel"}
DELETE_SCALED = {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete", "whenDeleted": "Retain"}}
DELETE_DELETED = {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Retain", "whenDeleted": "Delete"}}
DELETE_BOTH = {"persistentVolumeClaimRetentionPolicy": {"whenScaled": "Delete", "whenDeleted": "Delete"}}
HEALED = {"metadata": {"annotations": {BEHAVIOR: "runs"}}}
THREE = "0=1 1=1 2=1"
THREE_NEW = "0=2 1=2 2=2"
EACH_UPDATED_TO_3 = [
    *("delete 2", "gone 2", "create 2=3"),
    *("delete 1", "gone 1", "create 1=3"),
    *("delete 0", "gone 0", "create 0=3"),
]
FIRST_REPAIRED = ["delete 0", "gone 0", "create 0=2", "create 1=2", "create 2=2"]
DELETED_IN_ORDER = ["delete 2", "gone 2", "delete 1", "gone 1", "delete 0", "gone 0"]


def rolling(**options):
    return {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": options}}


TOPICS: dict[str, dict[str, Script]] = {
    "creation": {
        "one member": Script("0=1", spec={"replicas": 1}),
        "three members one by one": Script(THREE),
        "three members at once": Script(THREE, spec=PARALLEL),
        "claims before each member": Script(THREE, claims=["data"]),
        "claims before each of all members": Script(THREE, spec=PARALLEL, claims=["data"]),
        "two claims for each member": Script(THREE, claims=["data", "logs"]),
        "no member": Script("", [Step("0=1 1=1", spec={"replicas": 2})], spec={"replicas": 0}),
        "ordinals from 5": Script("5=1 6=1 7=1", spec={"ordinals": {"start": 5}}),
        "ordinals from 5 with claims at once": Script(
            "5=1 6=1 7=1", spec={"ordinals": {"start": 5}, **PARALLEL}, claims=["data"]
        ),
        "minReadySeconds one by one": Script(THREE, spec={"minReadySeconds": 1}),
        "minReadySeconds at once": Script(THREE, spec={"minReadySeconds": 1, **PARALLEL}),
    },
    "members that do not start": {
        "the first blocks": Script("0=1!", behavior="never-ready"),
        "the first blocks until it is ready": Script(
            "0=1!", [Step("0=1 1=1!", pod=0, patch=HEALED)], behavior="never-ready"
        ),
        "none blocks at once": Script("0=1! 1=1! 2=1!", spec=PARALLEL, behavior="never-ready"),
        "an image that cannot be pulled": Script("0=1!", behavior="image-pull-failure", claims=["data"]),
        "no node fits": Script("0=1!", behavior="unschedulable"),
        "a crash loop": Script("0=1!", behavior="crash-loop"),
        "scaled up while the first blocks": Script(
            "0=1!", [Step("0=1!", spec={"replicas": 5})], spec={"replicas": 2}, behavior="never-ready"
        ),
        "scaled to none while the first blocks": Script(
            "0=1!", [Step("", spec={"replicas": 0})], spec={"replicas": 2}, behavior="never-ready"
        ),
        "scaled down while the last blocks": Script(
            "0=1!",
            [Step("0=1 1=1!", pod=0, patch=HEALED), Step("0=1", spec={"replicas": 1})],
            behavior="never-ready",
        ),
        "scaled down at once while none is ready": Script(
            "0=1! 1=1! 2=1!", [Step("0=1!", spec={"replicas": 1})], spec=PARALLEL, behavior="never-ready"
        ),
    },
    "scaling": {
        "up one by one": Script("0=1", [Step("0=1 1=1 2=1 3=1", spec={"replicas": 4})], spec={"replicas": 1}),
        "up at once": Script("0=1", [Step("0=1 1=1 2=1 3=1", spec={"replicas": 4})], spec={"replicas": 1, **PARALLEL}),
        "down one by one": Script("0=1 1=1 2=1 3=1", [Step("0=1", spec={"replicas": 1})], spec={"replicas": 4}),
        "down at once": Script(
            "0=1 1=1 2=1 3=1", [Step("0=1", spec={"replicas": 1})], spec={"replicas": 4, **PARALLEL}
        ),
        "to none and back with claims": Script(
            THREE, [Step("", spec={"replicas": 0}), Step(THREE, spec={"replicas": 3})], claims=["data"]
        ),
        "down with minReadySeconds": Script(THREE, [Step("0=1", spec={"replicas": 1})], spec={"minReadySeconds": 1}),
        "the first ordinal up": Script(THREE, [Step("2=1 3=1 4=1", spec={"ordinals": {"start": 2}})]),
        "the first ordinal down": Script(
            "2=1 3=1 4=1",
            [Step("0=1 1=1 2=1", spec={"ordinals": {"start": 0}})],
            spec={"ordinals": {"start": 2}},
        ),
        "the first ordinal up at once": Script(
            THREE, [Step("2=1 3=1 4=1", spec={"ordinals": {"start": 2}})], spec=PARALLEL
        ),
        "the first ordinal and the number": Script(
            THREE, [Step("1=1", spec={"ordinals": {"start": 1}, "replicas": 1})]
        ),
        "down and at once up again": Script(
            THREE, [Step("0=1", spec={"replicas": 1}), Step("0=1 1=1", spec={"replicas": 2})]
        ),
    },
    "claims": {
        "kept when scaled down": Script(THREE, [Step("0=1", spec={"replicas": 1})], claims=["data"]),
        "deleted when scaled down": Script(
            THREE, [Step("0=1", spec={"replicas": 1})], spec=DELETE_SCALED, claims=["data"]
        ),
        "deleted when scaled down at once": Script(
            THREE, [Step("0=1", spec={"replicas": 1})], spec={**DELETE_SCALED, **PARALLEL}, claims=["data"]
        ),
        "created again after a scale-down": Script(
            "0=1 1=1",
            [Step("0=1", spec={"replicas": 1}), Step("0=1 1=1", spec={"replicas": 2})],
            spec={"replicas": 2, **DELETE_SCALED},
            claims=["data"],
        ),
        "kept with a deleted set": Script(
            "0=1", [Step("", remove="Background")], spec={"replicas": 1}, claims=["data"]
        ),
        "deleted with a deleted set": Script(
            "0=1", [Step("", remove="Background")], spec={"replicas": 1, **DELETE_DELETED}, claims=["data"]
        ),
        "deleted in both cases": Script(
            "0=1 1=1",
            [Step("0=1", spec={"replicas": 1}), Step("", remove="Background")],
            spec={"replicas": 2, **DELETE_BOTH},
            claims=["data"],
        ),
        "a policy that changes": Script(
            THREE,
            [Step(THREE, spec=DELETE_SCALED), Step("0=1", spec={"replicas": 1})],
            claims=["data"],
        ),
        "kept when a member is deleted": Script(
            THREE, [Step(THREE, pod=1, delete=True)], spec=DELETE_BOTH, claims=["data"]
        ),
        "kept through an update": Script(THREE, [Step(THREE_NEW, image="2")], spec=DELETE_BOTH, claims=["data"]),
    },
    "updates": {
        "one by one": Script(THREE, [Step(THREE_NEW, image="2")]),
        "one by one with Parallel": Script(THREE, [Step(THREE_NEW, image="2", ordered=True)], spec=PARALLEL),
        "of nothing": Script(
            THREE,
            [Step(THREE, spec={"template": {"spec": {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst"}}})],
        ),
        "of an annotation": Script(
            "0=1 1=1",
            [Step("0=1 1=1", spec={"template": {"metadata": {"annotations": {"a": "b"}}}})],
            spec={"replicas": 2},
        ),
        "and back": Script(THREE, [Step(THREE_NEW, image="2"), Step(THREE, image="1")]),
        "with minReadySeconds": Script(
            "0=1 1=1", [Step("0=2 1=2", image="2")], spec={"replicas": 2, "minReadySeconds": 1}
        ),
        "and more members": Script(
            "0=1", [Step(THREE_NEW, spec={"replicas": 3}, image="2", ordered=True)], spec={"replicas": 1}
        ),
        "from the fifth ordinal": Script(
            "5=1 6=1", [Step("5=2 6=2", image="2")], spec={"replicas": 2, "ordinals": {"start": 5}}
        ),
        "OnDelete": Script(
            THREE,
            [Step(THREE, image="2"), Step("0=1 1=2 2=1", pod=1, delete=True)],
            spec={"updateStrategy": {"type": "OnDelete"}},
        ),
        "OnDelete and then RollingUpdate": Script(
            THREE,
            [
                Step(THREE, image="2"),
                Step("0=1 1=2 2=1", pod=1, delete=True),
                Step(THREE_NEW, spec={"updateStrategy": {"type": "RollingUpdate"}}),
            ],
            spec={"updateStrategy": {"type": "OnDelete", "rollingUpdate": None}},
        ),
        "two at a time": Script(
            "0=1 1=1 2=1 3=1",
            [Step("0=2 1=2 2=2 3=2", image="2", ordered=False)],
            spec={"replicas": 4, **rolling(maxUnavailable=2)},
        ),
        "two at a time with Parallel": Script(
            "0=1 1=1 2=1 3=1",
            [Step("0=2 1=2 2=2 3=2", image="2", ordered=False)],
            spec={"replicas": 4, **PARALLEL, **rolling(maxUnavailable=2)},
        ),
        "all at a time with Parallel": Script(
            THREE,
            [Step(THREE_NEW, image="2", ordered=False)],
            spec={**PARALLEL, **rolling(maxUnavailable="100%")},
        ),
        "a percentage that rounds to none": Script(
            THREE, [Step(THREE_NEW, image="2", ordered=True)], spec={**PARALLEL, **rolling(maxUnavailable="10%")}
        ),
    },
    "partitions": {
        "of two": Script(THREE, [Step("0=1 1=1 2=2", image="2")], spec=rolling(partition=2)),
        "lowered": Script(
            THREE,
            [
                Step("0=1 1=1 2=2", image="2"),
                Step("0=1 1=2 2=2", spec=rolling(partition=1)),
                Step(THREE_NEW, spec=rolling(partition=0)),
            ],
            spec=rolling(partition=2),
        ),
        "above all members": Script(THREE, [Step(THREE, image="2")], spec=rolling(partition=9)),
        "a member below is deleted": Script(
            THREE,
            [Step("0=1 1=1 2=2", image="2"), Step("0=1 1=1 2=2", pod=0, delete=True)],
            spec=rolling(partition=2),
        ),
        "a member above is deleted": Script(
            THREE,
            [Step("0=1 1=1 2=2", image="2"), Step("0=1 1=1 2=2", pod=2, delete=True)],
            spec=rolling(partition=2),
        ),
        "scaled up": Script(
            "0=1 1=1",
            [Step("0=1 1=2", image="2"), Step("0=1 1=2 2=2 3=2", spec={"replicas": 4})],
            spec={"replicas": 2, **rolling(partition=1)},
        ),
        "with ordinals from 5": Script(
            "5=1 6=1 7=1",
            [Step("5=1 6=2 7=2", image="2"), Step("5=1 6=2 7=2", pod=5, delete=True)],
            spec={"ordinals": {"start": 5}, **rolling(partition=1)},
        ),
        "raised": Script(
            THREE,
            [Step("0=1 1=1 2=2", image="2"), Step("0=1 1=1 2=2", spec=rolling(partition=3))],
            spec=rolling(partition=2),
        ),
        "two at a time": Script(
            "0=1 1=1 2=1 3=1",
            [Step("0=1 1=1 2=2 3=2", image="2", ordered=False)],
            spec={"replicas": 4, **PARALLEL, **rolling(partition=2, maxUnavailable=2)},
        ),
    },
    "failing updates": {
        "stop at the first": Script(THREE, [Step("0=1 1=1 2=2!", image="2", behavior="never-ready")]),
        "stop at the first with Parallel": Script(
            THREE, [Step("0=1 1=1 2=2!", image="2", behavior="never-ready", ordered=True)], spec=PARALLEL
        ),
        "are corrected with Parallel": Script(
            THREE,
            [
                Step("0=1 1=1 2=2!", image="2", behavior="never-ready", ordered=True),
                Step("0=3 1=3 2=3", image="3", behavior="", ordered=True),
            ],
            spec=PARALLEL,
        ),
        "stop at the budget": Script(
            "0=1 1=1 2=1 3=1",
            [
                Step(
                    "0=1 1=1 2=1 3=2!",
                    image="2",
                    behavior="never-ready",
                    ordered=False,
                    own_until="0=1 1=1 2=2! 3=2!",
                    own=["delete 2", "gone 2", "create 2=2", "delete 3", "gone 3", "create 3=2"],
                    own_ordered=False,
                )
            ],
            spec={"replicas": 4, **PARALLEL, **rolling(maxUnavailable=2)},
            improvement="maxUnavailable",
        ),
        "are corrected": Script(
            THREE,
            [
                Step("0=1 1=1 2=2!", image="2", behavior="never-ready"),
                Step("0=1 1=1 2=2!", image="3", behavior="", own_until="0=3 1=3 2=3", own=EACH_UPDATED_TO_3),
            ],
            improvement="A stuck rollout is repaired",
        ),
        "are undone": Script(
            THREE,
            [
                Step("0=1 1=1 2=2!", image="2", behavior="image-pull-failure"),
                Step(
                    "0=1 1=1 2=2!",
                    image="1",
                    behavior="",
                    own_until=THREE,
                    own=["delete 2", "gone 2", "create 2=1"],
                ),
            ],
            improvement="A stuck rollout is repaired",
        ),
        "are corrected before any member is ready": Script(
            "0=1!",
            [Step("0=1!", image="2", behavior="", own_until=THREE_NEW, own=FIRST_REPAIRED)],
            behavior="never-ready",
            improvement="A stuck rollout is repaired",
        ),
    },
    "deleted and ended pods": {
        "one is deleted": Script(THREE, [Step(THREE, pod=1, delete=True)]),
        "one is deleted with Parallel": Script(THREE, [Step(THREE, pod=1, delete=True)], spec=PARALLEL),
        "one is deleted by force": Script(THREE, [Step(THREE, pod=0, force=True)]),
        "one fails": Script(THREE, [Step(THREE, pod=1, status={"phase": "Failed"})]),
        "one succeeds": Script(THREE, [Step(THREE, pod=2, status={"phase": "Succeeded"})]),
        "one fails with Parallel": Script(THREE, [Step(THREE, pod=1, status={"phase": "Failed"})], spec=PARALLEL),
        "one is relabelled and deleted": Script(
            "0=1 1=1",
            [
                Step("0=1 1=1", pod=1, patch={"metadata": {"labels": {"set": "debug"}}}),
                Step("0=1 1=1", pod=1, delete=True),
            ],
            spec={"replicas": 2},
        ),
    },
    "deleted sets": {
        "leave their pods when orphaned, and adopt them again": Script(
            THREE, [Step(THREE, remove="Orphan"), Step(THREE, create=True)], claims=["data"]
        ),
        "in order": Script(
            THREE,
            [Step("", remove="Background", ordered=False, own=DELETED_IN_ORDER)],
            improvement="Members of a deleted set go in order",
        ),
        "at once": Script(
            THREE, [Step("", remove="Background", ordered=False)], spec=PARALLEL, pet={"deletion": "Parallel"}
        ),
        "in the foreground": Script(
            THREE, [Step("", remove="Foreground", ordered=False)], spec=PARALLEL, pet={"deletion": "Parallel"}
        ),
        "with claims at once": Script(
            THREE,
            [Step("", remove="Background", ordered=False)],
            spec={**PARALLEL, **DELETE_DELETED},
            claims=["data"],
            pet={"deletion": "Parallel"},
        ),
    },
}

SCRIPTS = {f"{topic}: {name}": script for topic, scripts in TOPICS.items() for name, script in scripts.items()}
