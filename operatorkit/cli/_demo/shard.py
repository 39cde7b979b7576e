"""The story of mysql_sharding: a primary is killed while an application writes, and no row is lost."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

from operatorkit.cli._demo.shard_nodes import ProcessNode
from operatorkit.cli._demo.stage import Stage, StoryError, indent
from operatorkit.cli._describe import describe_events
from operatorkit.cluster import ClusterAPI, JSONObject, PatchType
from operatorkit.kinds import NODES

if TYPE_CHECKING:
    from operatorkit.cli._demo.orders import Application

__all__ = ["ShardStory"]

_GROUP = "mysql.operatorkit.dev"
_SHARD = "orders0"
_PASSWORD = "not-a-secret"  # noqa: S105 - of a server that ends with the demo
_ROWS_BEFORE, _ROWS_AFTER = 200, 100


class ShardStory(Stage):
    """The chapters about MariaDB; each raises StoryError when the cluster does not do what the text says."""

    namespace: ClassVar[str] = "data"

    def __init__(
        self, api: ClusterAPI, *, started: float, kubeconfig: Path, node: ProcessNode
    ) -> None:
        super().__init__(api, started=started, kubeconfig=kubeconfig)
        self._node = node

    async def start_the_node(self, stack: contextlib.ExitStack) -> None:
        """Start a process node, which `stack` ends, and cordon the others, so that new pods run on it."""
        others = [node["metadata"]["name"] for node in (await self.api.list(NODES)).items]
        stack.enter_context(self._node.running())
        click.echo("  node/process-1 is Ready: its pods run as processes of this machine")
        for name in others:
            cordon = {"spec": {"unschedulable": True}}
            await self.api.patch(NODES, name, cordon, patch_type=PatchType.MERGE)
            click.echo(f"  node/{name} cordoned")

    async def create(self) -> None:
        """Create a cluster of one shard, and wait until each member replicates."""
        self.show("shard.yaml", "kind: MysqlCluster")
        await self.apply_file("shard.yaml")
        status = await self.until("the shard accepts writes", self._healthy)
        self._print_members(status)

    async def kill_the_primary(self, application: Application) -> None:
        """Kill the primary while the application writes; return when it writes again.

        A server that restarts at once may be chosen again: it has every write.
        """
        await self.until(
            f"{_ROWS_BEFORE} rows are written", lambda: application.has_written(_ROWS_BEFORE)
        )
        status = await self._status()
        old, epoch = str(status["primary"]), int(status["epoch"])
        killed, before = time.monotonic(), len(application.acknowledged)
        await self._node.kill(self.namespace, old)
        dead = time.monotonic()
        click.echo(f"  pod/{old}, the primary: mariadbd is killed (SIGKILL) after {before} rows")
        new = await self.until("a primary is chosen", lambda: self._primary_after(epoch))
        await self.until(
            "the application writes again", lambda: application.has_written(before + _ROWS_AFTER)
        )
        seconds = application.first_by(new, after=dead) - killed
        click.echo(
            f"  pod/{new} is the primary now, and acknowledges rows: failover in {seconds:.1f} s"
        )

    async def compare(self, application: Application) -> None:
        """Wait until the killed member is a replica again; then no member may lack an acknowledged row."""
        status = await self.until("every member replicates", self._healthy)
        self._print_members(status)
        acknowledged = set(application.acknowledged)
        for member in status["members"]:
            name = member["name"]
            rows = await self.until(
                f"{name} has applied every row",
                lambda name=name: self._rows(application, name),  # type: ignore[misc]
            )
            missing = len(acknowledged - rows)
            click.echo(f"  pod/{name}: {len(acknowledged)} rows acknowledged, {missing} missing")
            if missing:
                raise StoryError(f"expected that {name} lacks no row; found: {missing} missing")
        click.echo("  `kubectl describe mydb orders0 -n data`:")
        click.echo()
        events = await self.events("MysqlDatabase", _SHARD)
        click.secho(indent(describe_events(events, datetime.now(UTC))), fg="green")

    def application(self) -> Application:
        """Return the application, which writes while it is entered."""
        from operatorkit.cli._demo.orders import Application

        return Application(self.api, self.namespace, _SHARD, password=_PASSWORD)

    async def _rows(self, application: Application, member: str) -> set[int] | None:
        """Return the rows of a member once it has the last acknowledged one."""
        rows = await application.rows_of(member)
        return rows if rows is not None and max(application.acknowledged) in rows else None

    async def _status(self) -> JSONObject:
        resource = await self.api.resolve(_GROUP, "MysqlDatabase")
        found = await self.api.get(resource, _SHARD, namespace=self.namespace)
        status: JSONObject = found.get("status") or {}
        return status

    async def _healthy(self) -> JSONObject | None:
        status = await self._status()
        conditions = {each["type"]: each["status"] for each in status.get("conditions") or ()}
        members = status.get("members") or ()
        whole = members and status.get("readyMembers") == len(members)
        healthy = conditions == {"Available": "True", "Degraded": "False"}
        return status if healthy and whole and "failover" not in status else None

    async def _primary_after(self, epoch: int) -> str | None:
        status = await self._status()
        chosen = status["epoch"] > epoch and "failover" not in status
        return str(status["primary"]) if chosen else None

    def _print_members(self, status: JSONObject) -> None:
        for member in status["members"]:
            click.echo(f"  pod/{member['name']} {member['role']}, {member['phase'].lower()}")
