"""Disrupts the primary of a real shard under load, again and again, and counts acknowledged writes that are lost.

    python -m soak.mysql_kills --kills 200 --hangs 50 --partitions 50 --restarts 20 --stops 20 [--results FILE]
                               [--asynchronous]

Each round kills the primary (-9), stops it (SIGSTOP), cuts it off its replicas and then off everything (packets are
dropped), or kills it and restarts the operator at a random moment of the failover, while a client in a process of its
own writes. With `--stops`, the operator ends so often right before, and right after, each step of a failover, and of a
switchover. Then all members are compared row by row with what the client was acknowledged. The totals are kept in a
file, so that an interrupted run goes on. With `--asynchronous`, the positive control, replicas do not acknowledge:
there, writes must be lost, and a run that loses none fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from operatorkit.errors import ClusterError, InputError
from operatorkit.kinds import PODS
from operators.mysql_sharding.execute import Executor
from soak.mysql_real import begun

NAMESPACE = "kills"
FAILOVER = (
    "WriteIntent",
    "StopReplication",
    "RemoveRoleLabel",
    "RecordTarget",
    "Promote",
    "RecordPrimary",
    "OpenForWrites",
    "PointReplica",
    "SetRoleLabel",
    "Finish",
)
SWITCHOVER = (
    "WriteIntent",
    "SetReadOnly",
    "RemoveRoleLabel",
    "RecordTarget",
    "Promote",
    "RecordPrimary",
    "OpenForWrites",
    "PointReplica",
    "SetRoleLabel",
    "Finish",
)


class Totals:
    """What all rounds found, kept in a file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.rounds = json.loads(path.read_text()) if path is not None and path.exists() else []

    def done(self, kind):
        return sum(1 for one in self.rounds if one["kind"] == kind)

    def add(self, **found):
        self.rounds.append(found)
        if self._path is not None:
            self._path.write_text(json.dumps(self.rounds))

    def summary(self):
        lines = []
        for kind in dict.fromkeys(one["kind"] for one in self.rounds):
            these = [one for one in self.rounds if one["kind"] == kind]
            pauses = sorted(one["pause"] for one in these)
            p95 = pauses[min(len(pauses) - 1, int(len(pauses) * 0.95))]
            writes, lost = (sum(one[name] for one in these) for name in ("writes", "lost"))
            lines.append(
                f"{kind}: {len(these)} rounds, {writes} acknowledged writes, {lost} lost, "
                f"pause median {statistics.median(pauses):.2f} s, p95 {p95:.2f} s"
            )
        return "\n".join(lines)


class Stop:
    """Lets the operator end right before, or right after, a step of one kind; none where `at` is empty."""

    def __init__(self):
        self.at, self.after, self.reached = "", False, asyncio.Event()
        for name, place in (("write", 2), ("change_pod", 2), ("change_server", 2)):
            setattr(Executor, name, self._wrapped(getattr(Executor, name), place))

    def arm(self, kind):
        """Take a kind such as `failover before WriteIntent`."""
        _, when, self.at = kind.split()
        self.after = when == "after"
        self.reached.clear()

    def _wrapped(self, method, place):
        async def call(*arguments):
            ends = type(arguments[place]).__name__ == self.at
            if not ends or self.after:
                await method(*arguments)
            if ends:
                self.at = ""
                self.reached.set()
                await asyncio.Event().wait()  # until the operator is ended

        return call


def stops():
    """Return the kinds of rounds in which the operator ends at a step."""
    steps = {"failover": FAILOVER, "switchover": SWITCHOVER}
    return [
        f"{change} {when} {step}" for change, found in steps.items() for step in found for when in ("before", "after")
    ]


async def one_round(one, kind, directory, chance):
    old = (await one.healthy())["primary"]
    async with one.load(directory) as writes:
        await asyncio.sleep(chance.random() / 2)
        kind = await disrupt(one, kind, old, chance)
        await writes.more()
    one.resume(old)
    with suppress(InputError):
        one.nodes.disrupt.heal(one.namespace, old)
    lost = max((await one.lost(writes)).values())
    return {"kind": kind, "writes": writes.count(), "lost": lost, "pause": writes.longest_pause()}


async def disrupt(one, kind, old, chance):
    """Do it, and return its kind: another one where the change of the primary had no such step."""
    if kind in {"kill", "restart"} or kind.startswith("failover"):
        if kind.startswith("failover"):
            one.stop.arm(kind)
        one.nodes.disrupt.kill(one.namespace, old)
    elif kind == "hang":
        one.nodes.disrupt.pause(one.namespace, old)
    elif kind == "partition":
        others = [each["name"] for each in (await one.status())["members"] if each["name"] != old]
        peers = [await one.address(name) for name in others]
        one.nodes.disrupt.partition(one.namespace, old, peers=peers)
        await asyncio.sleep(chance.random())
        one.nodes.disrupt.partition(one.namespace, old)
    else:
        one.stop.arm(kind)
        unwanted = {old, (await one.get())["spec"].get("switchoverTo")}  # a wish is fulfilled once
        others = {each["name"] for each in (await one.status())["members"]} - unwanted
        await one.change({"switchoverTo": chance.choice(sorted(others))})
    if kind == "restart":
        await asyncio.sleep(chance.random() * 2)
        await one.restart_operator()
    elif " " in kind:
        try:
            await asyncio.wait_for(one.stop.reached.wait(), 60)
        except TimeoutError:
            one.stop.at = ""
            return kind.split()[0]
        await one.restart_operator()
    return kind


async def show_members(one):
    """Print what a reader needs who wants to know why a shard did not become healthy."""
    for pod in (await one.cluster.list(PODS, namespace=one.namespace)).items:
        name, status = pod["metadata"]["name"], pod.get("status", {})
        print(name, pod["metadata"].get("deletionTimestamp", ""), status.get("phase"))
        for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
            print("  ", container["name"], container["restartCount"], container["state"])
        path = f"/api/v1/namespaces/{one.namespace}/pods/{name}/log?container=mariadb&tailLines=15"
        with suppress(ClusterError):
            print(await one.cluster.request("GET", path))
    for event in await one.events():
        print(event)


async def main(options):
    totals, chance = Totals(options.results), random.Random(options.seed)
    wanted = {"kill": options.kills, "hang": options.hangs, "partition": options.partitions}
    wanted |= {"restart": options.restarts, **dict.fromkeys(stops(), options.stops)}
    async with AsyncExitStack() as stack:
        one, directory = await begun(stack, NAMESPACE)
        one.stop = Stop()
        await one.create(durability={"allowAsync": options.asynchronous})
        await one.healthy()
        while open_ones := [kind for kind, count in wanted.items() if totals.done(kind) < count]:
            try:
                found = await one_round(one, chance.choice(open_ones), directory, chance)
            except AssertionError:
                await show_members(one)
                raise
            totals.add(**found)
            print(f"{len(totals.rounds)}: {found}", flush=True)
    print(totals.summary())
    lost = sum(one["lost"] for one in totals.rounds)
    if options.asynchronous:
        print("the control has lost writes, as it must" if lost else "the control has lost no write: it proves nothing")
    return int(bool(lost) != options.asynchronous)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    counts = {"kills": 200, "hangs": 50, "partitions": 50, "restarts": 20, "stops": 20}
    for name, default in counts.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--results", type=Path, help="file that keeps the totals")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--asynchronous", action="store_true", help="the positive control")
    sys.exit(asyncio.run(main(parser.parse_args())))
