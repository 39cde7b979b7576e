"""Random histories of a PetSet in a model of a cluster: users, failing pods, lost nodes, crashes and stale caches.

    step ── somebody changes the spec, a pod or a node ── time passes ── the operator syncs, perhaps on an old cache,
            perhaps until it crashes between two writes ── every write is judged ──► at the end: peace, and convergence

What is judged: at most one pod of an identity (always, as names are), none beside one whose containers may still run
(Strict); order of creation and removal; the budget of an update; that the repair takes no member that could come back;
that a set left in peace ends with all members available at its revision, and then does nothing; and that a deleted one
loses its members in order.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import dataclass, field, replace
from typing import Any

from operators.petset.plan import Plan, plan
from operators.petset.state import Member, Snapshot
from operators.petset.status import fill_status
from operators.petset.steps import (
    CreateClaim,
    CreateMember,
    CreateRevision,
    DeleteMember,
    DeleteRevision,
    EvictMember,
    RenumberRevision,
    RepairLabels,
    SetClaimOwner,
    UnprotectMember,
    UpdateInPlace,
)
from soak.petset_world import World, petset

__all__ = ["Verdict", "live"]

_STEPS = 120
_PEACE_ROUNDS = 400
_IDLE_ROUNDS = 10
_SHARE_DELETED = 0.15
_IMAGES = ["web:1", "web:2", "web:3", "bad:1", "bad:2"]


@dataclass(slots=True)
class Verdict:
    """How one history ended."""

    seed: int
    steps: int = 0
    wrong: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def report(self) -> str:
        """Say what was wrong and what had happened before."""
        return "\n  ".join([f"seed {self.seed} ended wrong", *self.wrong, *self.log[-40:]])


class _Cluster(World):
    """The model, with nodes that are lost and writes that are refused when they come from an old cache."""

    def __init__(self, rng: random.Random, verdict: Verdict) -> None:
        claims = [{"metadata": {"name": "data"}, "spec": {}}] if rng.random() < 0.5 else []
        super().__init__(
            petset(
                replicas=rng.randint(1, 4),
                podManagementPolicy=rng.choice(["OrderedReady", "OrderedReady", "Parallel"]),
                memberSafety=rng.choice(["BestEffort", "Strict"]),
                minReadySeconds=rng.choice([0, 0, 3]),
                volumeClaimTemplates=claims,
                revisionHistoryLimit=rng.choice([0, 1, 10]),
            ),
            broken={"bad:1", "bad:2"},
        )
        self.rng = rng
        self.verdict = verdict
        self.lost: set[str] = set()  # uids of pods on lost nodes
        self.forced: set[str] = set()  # uids of pods that were deleted by force: only finalizers keep them
        self.running: dict[int, set[str]] = {}  # uids of pods whose containers run, by ordinal
        self.fresh = True  # whether the plan at work was made from what is

    # The judge

    def wrong(self, what: str) -> None:
        if len(self.verdict.wrong) < 5:
            self.verdict.wrong.append(what)

    def execute(self, step: Any) -> None:
        """Do what a step says, unless the API server would refuse it; judge it first."""
        if self._is_rejected(step):
            raise _Rejected
        if self.fresh:
            self._evaluate(step)
        super().execute(step)

    def _is_rejected(self, step: Any) -> bool:
        """Tell whether names or preconditions do not hold any more."""
        match step:
            case CreateMember(ordinal=ordinal):
                return ordinal in self.members
            case CreateClaim(name=name):
                return name in self.claims
            case CreateRevision(revision):
                return revision.name in self.revisions
            case RenumberRevision(revision):
                return revision.name not in self.revisions
            case DeleteRevision(name):
                return name not in self.revisions
            case SetClaimOwner(claim=claim):
                return self.claims.get(claim.name) != claim
            case DeleteMember(member=member):
                return self.members.get(member.ordinal) != member  # uid and resourceVersion
            case EvictMember(member=member) | UpdateInPlace(member=member) | UnprotectMember(member=member):
                known = self.members.get(member.ordinal)
                return known is None or known.uid != member.uid
            case RepairLabels(member):
                return self.members.get(member.ordinal) != member
        return False

    def _evaluate(self, step: Any) -> None:
        spec = self.pets.spec
        seen = self.snapshot()
        desired = seen.desired()
        available = {o for o, member in self.members.items() if member.is_available(self.now)}
        ordered = spec.pod_management_policy == "OrderedReady"
        match step:
            case CreateMember(ordinal=ordinal):
                alive = self.running.get(ordinal, set())
                if spec.member_safety == "Strict" and alive:
                    self.wrong(f"{step.pod} is created while containers of {sorted(alive)} may run")
                before = [each for each in desired if each < ordinal]
                recreated = spec.update_strategy.type == "Recreate"
                if ordered and not recreated and not available.issuperset(before):
                    self.wrong(f"{step.pod} is created before {sorted(set(before) - available)} are available")
                left = [o for o, each in self.members.items() if o in desired and each.revision != step.revision]
                if recreated and left and not spec.update_strategy.rolling_update.paused:
                    self.wrong(f"{step.pod} is created while {left} of other revisions are left, in Recreate")
                if self.pets.metadata.deletion_timestamp is not None:
                    self.wrong(f"{step.pod} is created though the set is deleted")
            case DeleteMember(member=member) | EvictMember(member=member):
                self._evaluate_removal(member, step, desired, available)

    def _evaluate_removal(self, member: Member, step: Any, desired: list[int], available: set[int]) -> None:
        spec = self.pets.spec
        if self.pets.metadata.deletion_timestamp is not None:
            higher = [each for each in self.members if each > member.ordinal]
            if spec.deletion == "Ordered" and higher:
                self.wrong(f"{member.pod} is removed before {higher}, though deletion is Ordered")
            return
        if member.ordinal not in desired:
            others = [o for o, each in self.members.items() if o not in desired and o > member.ordinal]
            if spec.pod_management_policy == "OrderedReady" and others:
                self.wrong(f"{member.pod} is scaled down before {others}")
            return
        if member.finished or spec.update_strategy.type == "Recreate":
            return
        rank = desired.index(member.ordinal)
        rolling = spec.update_strategy.rolling_update
        if spec.update_strategy.type == "OnDelete" or rolling.paused:
            self.wrong(f"{member.pod} is replaced though updates wait ({step.why})")
        if rank < rolling.partition:
            self.wrong(f"{member.pod} is replaced below the partition ({step.why})")
        if member.ordinal in available:
            missing = len(desired) - len(available & set(desired))
            if missing >= int(rolling.max_unavailable):
                self.wrong(f"{member.pod} is taken while {missing} are unavailable ({step.why})")
        elif not (member.failure is not None or member.never_ready):
            self.wrong(f"{member.pod}, which was ready and may come back, is taken by the repair")

    # What happens to pods

    def create(self, step: Any) -> None:
        super().create(step)
        self.running.setdefault(step.ordinal, set()).add(self.members[step.ordinal].uid)

    def after_a_while(self, member: Member) -> Member | None:
        if member.uid in self.forced and not member.protected:
            after = None  # whether its containers have stopped is another matter
        elif member.uid in self.lost:
            return member  # nobody reports of it
        else:
            after = super().after_a_while(member)
        stopped = after is None or after.releasable or after.finished
        if stopped and member.uid not in self.lost:
            self.running.get(member.ordinal, set()).discard(member.uid)
        return after

    def disturb(self) -> str:
        """Let somebody or something change something; return what."""
        rng = self.rng
        actions = [self._edit, self._edit, self._edit, self._flap, self._kill, self._fail, self._lose, self._find]
        return rng.choice([*actions, self._force])()

    def _edit(self) -> str:
        rng = self.rng
        rolling = {
            "partition": rng.choice([0, 0, 0, 1, 2]),
            "maxUnavailable": rng.choice([1, 1, 2]),
            "paused": rng.random() < 0.1,
            "inPlace": rng.choice(["Never", "Never", "IfPossible"]),
            "autoRollback": rng.random() < 0.3,
            "progressDeadlineSeconds": rng.choice([20, 600]),
        }
        kind = rng.choice(["RollingUpdate", "RollingUpdate", "RollingUpdate", "OnDelete", "Recreate"])
        change = rng.choice(
            [
                {"image": rng.choice(_IMAGES)},
                {"image": rng.choice(_IMAGES)},
                {"replicas": rng.randint(0, 5)},
                {"updateStrategy": {"type": kind, "rollingUpdate": rolling}},
                {"reserveOrdinals": rng.choice([[], [1], ["0-1"], [2]])},
                {"overrides": rng.choice([[], [{"ordinals": [1], "template": {"spec": {"priority": 1}}}]])},
            ]
        )
        self.change(**change)
        return f"edit {change}"

    def template_image(self) -> str:
        """Return the image of the template."""
        containers = self.pets.spec.template.spec.containers
        return str(containers[0].image)

    def _pick(self) -> int | None:
        return self.rng.choice(sorted(self.members)) if self.members else None

    def _flap(self) -> str:
        """Let a ready pod be unready for a while, as in a network partition."""
        ordinal = self._pick()
        if ordinal is not None and self.members[ordinal].ready:
            self.members[ordinal] = replace(self.members[ordinal], ready=False, available_at=None)
        return f"flap {ordinal}"

    def _kill(self) -> str:
        ordinal = self._pick()
        if ordinal is not None:
            self.members[ordinal] = replace(self.members[ordinal], terminating=True)
        return f"kill {ordinal}"

    def _fail(self) -> str:
        """Let a pod end, as by an eviction of the kubelet."""
        ordinal = self._pick()
        if ordinal is not None and not self.members[ordinal].terminating:
            member = self.members[ordinal]
            self.running.get(ordinal, set()).discard(member.uid)
            self.members[ordinal] = replace(member, phase="Failed", ready=False, available_at=None)
        return f"fail {ordinal}"

    def _lose(self) -> str:
        """Lose the node of a pod: its containers may run on, and nobody reports."""
        ordinal = self._pick()
        if ordinal is not None:
            member = self.members[ordinal]
            self.lost.add(member.uid)
            self.members[ordinal] = replace(member, ready=False, available_at=None, terminating=True)
        return f"lose the node of {ordinal}"

    def _force(self) -> str:
        """Delete a pod by force, as people do with those of lost nodes, and as the garbage collector of pods does."""
        ordinal = self._pick()
        if ordinal is not None:
            member = self.members[ordinal]
            self.forced.add(member.uid)
            self.members[ordinal] = replace(member, ready=False, available_at=None, terminating=True)
        return f"delete {ordinal} by force"

    def _find(self) -> str:
        """Let lost nodes come back, or be declared out of service."""
        self.come_back()
        return "nodes are back"

    def come_back(self) -> None:
        """Let kubelets stop the containers of pods that are not there any more."""
        self.lost.clear()
        for ordinal, uids in self.running.items():
            member = self.members.get(ordinal)
            uids.intersection_update({member.uid} if member is not None else ())


class _Rejected(Exception):  # noqa: N818 - what a conflict is to the operator: the end of this sync
    """The API server refuses a write."""


def live(seed: int, *, steps: int = _STEPS) -> Verdict:
    """Live through one history and judge it."""
    rng = random.Random(seed)
    verdict = Verdict(seed)
    cluster = _Cluster(rng, verdict)
    old = cluster.snapshot()
    for _ in range(steps):
        verdict.steps += 1
        if rng.random() < 0.25:
            verdict.log.append(cluster.disturb())
        seen, old = _observed(cluster, old, rng)
        verdict.log += _sync(cluster, seen, rng)
        cluster.pass_time(rng.choice([1, 1, 1, 5]))
    if rng.random() < _SHARE_DELETED:
        _evaluate_deletion(cluster, verdict)
    else:
        _evaluate_peace(cluster, verdict)
    return verdict


def _observed(cluster: _Cluster, old: Snapshot, rng: random.Random) -> tuple[Snapshot, Snapshot]:
    """Return what the operator sees: mostly what is, sometimes what was; and what it may see next."""
    now = cluster.snapshot()
    cluster.fresh = rng.random() < 0.85
    seen = now if cluster.fresh else replace(old, spec=now.spec, template=now.template, status=now.status, now=now.now)
    return seen, now if rng.random() < 0.5 else old


def _sync(cluster: _Cluster, seen: Snapshot, rng: random.Random) -> list[str]:
    """Plan and execute, perhaps until a crash or a refusal; the status is lost in a crash."""
    before = len(cluster.log)
    decided: Plan = plan(seen)
    crash_at = rng.randrange(len(decided.steps) + 1) if rng.random() < 0.1 else None
    try:
        for number, step in enumerate(decided.steps):
            if number == crash_at:
                return [*cluster.log[before:], "crash"]
            cluster.execute(step)
    except _Rejected:
        pass
    if crash_at is None:
        fill_status(cluster.pets.status, seen, decided, selector="", generation=1)
    return cluster.log[before:]


def _evaluate_peace(cluster: _Cluster, verdict: Verdict) -> None:
    """Leave the set in peace, with a template that works: it must converge, and then do nothing."""
    cluster.come_back()
    cluster.fresh = False
    image = cluster.template_image()
    if cluster.pets.status.rollback is not None or image in cluster.broken or cluster.rng.random() < 0.5:
        image = "web:9"
    cluster.change(image=image, updateStrategy={"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}})
    idle = 0
    for _ in range(_PEACE_ROUNDS):
        seen = cluster.snapshot()
        decided = plan(seen)
        idle = 0 if decided.steps else idle + 1
        if idle > _IDLE_ROUNDS:
            break
        for step in decided.steps:
            cluster.execute(step)
        fill_status(cluster.pets.status, seen, decided, selector="", generation=1)
        cluster.pass_time()
    desired = [cluster.snapshot().pod(ordinal) for ordinal in cluster.snapshot().desired()]
    if cluster.states() != dict.fromkeys(desired, image):
        cluster.wrong(f"not converged: {cluster.states()}, wanted {desired} with {image}")
    if left := plan(cluster.snapshot()).steps:
        cluster.wrong(f"still at work when all is well: {left}")


def _evaluate_deletion(cluster: _Cluster, verdict: Verdict) -> None:
    """Delete the set: its members must go, in order, and then nothing is left to do."""
    cluster.come_back()
    cluster.delete()
    verdict.log.append("delete the set")
    cluster.fresh = True
    for _ in range(_PEACE_ROUNDS):
        decided = plan(cluster.snapshot())
        if not decided.steps:
            break
        for step in decided.steps:
            cluster.execute(step)
        cluster.pass_time()
    if cluster.members:
        cluster.wrong(f"not deleted: {cluster.states()} are left, and nothing or too much is done")


def main() -> int:
    """Live through as many histories as asked for; the exit code is 1 when one ended wrong."""
    parser = argparse.ArgumentParser(prog="python -m soak.petset_histories", description=__doc__)
    parser.add_argument("--steps", type=int, default=100_000, help="how many steps in all (default: 100,000)")
    parser.add_argument("--first", type=int, default=0, help="the seed of the first history (default: 0)")
    options = parser.parse_args()
    done, seed, wrong, started = 0, options.first, 0, time.monotonic()
    while done < options.steps:
        verdict = live(seed)
        done, seed = done + verdict.steps, seed + 1
        if verdict.wrong:
            wrong += 1
            print(verdict.report(), flush=True)
        if (seed - options.first) % 50 == 0:
            print(
                f"{done} of {options.steps} steps, {time.monotonic() - started:.0f} s; next: --first {seed}", flush=True
            )
    print(f"{done} steps, {seed - options.first} histories, {wrong} ended wrong", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
