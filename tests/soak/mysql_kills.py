"""Disrupts the primary of a real shard under load, again and again, and counts acknowledged writes that are lost.

    python -m soak.mysql_kills --kills 200 --hangs 50 --restarts 20 [--results FILE] [--asynchronous]

Each round kills the primary (-9), stops it (SIGSTOP), or kills it and restarts the operator at a random moment of the
failover, while a client in a process of its own writes. Then all members are compared row by row with what the client
was acknowledged. The totals are kept in a file, so that an interrupted run goes on. With `--asynchronous`, the positive
control, replicas do not acknowledge: there, writes may be lost.
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

from operatorkit.errors import ClusterError
from operatorkit.kinds import PODS
from soak.mysql_real import begun

NAMESPACE = "kills"


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


async def one_round(one, kind, directory, chance):
    old = (await one.healthy())["primary"]
    async with one.load(directory) as writes:
        await asyncio.sleep(chance.random() / 2)
        if kind == "hang":
            one.nodes.disrupt.pause(one.namespace, old)
        else:
            one.nodes.disrupt.kill(one.namespace, old)
        if kind == "restart":
            await asyncio.sleep(chance.random() * 2)
            await one.restart_operator()
        await writes.more()
    if kind == "hang":
        one.resume(old)
    lost = max((await one.lost(writes)).values())
    return {"kind": kind, "writes": writes.count(), "lost": lost, "pause": writes.longest_pause()}


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
    wanted = {"kill": options.kills, "hang": options.hangs, "restart": options.restarts}
    async with AsyncExitStack() as stack:
        one, directory = await begun(stack, NAMESPACE)
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
    return 1 if lost and not options.asynchronous else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("kills", 200), ("hangs", 50), ("restarts", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--results", type=Path, help="file that keeps the totals")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--asynchronous", action="store_true", help="the positive control")
    sys.exit(asyncio.run(main(parser.parse_args())))
