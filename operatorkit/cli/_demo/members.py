"""The story of petset: three members of a database, an update that fails and heals, and a rollback."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import click

from operatorkit.cli._demo.stage import NAMESPACE, Stage, StoryError, indent
from operatorkit.cli._describe import describe_events, describe_pod
from operatorkit.clock import parse_time
from operatorkit.cluster import JSONObject
from operatorkit.kinds import PODS

__all__ = ["MembersStory"]

_GROUP = "apps.operatorkit.dev"
_SET = "db"
_MEMBERS = ("db-0", "db-1", "db-2")
_FIRST_IMAGE, _BROKEN_IMAGE, _SECOND_IMAGE = (
    f"registry.example/{image}" for image in ("db:1", "bd:2", "db:2")
)


class MembersStory(Stage):
    """The chapters about a PetSet; each raises StoryError when the cluster does not do what the text says."""

    async def create(self) -> None:
        """Create a set of three and check that its members came up in order."""
        self.show("petset.yaml", "kind: PetSet")
        await self.apply_file("petset.yaml")
        pods = await self.until("all members are ready", lambda: self._completed(_FIRST_IMAGE))
        for name in _MEMBERS:
            click.echo(f"  pod/{name} is ready")
        for before, after in itertools.pairwise(_MEMBERS):
            if parse_time(pods[after]["metadata"]["creationTimestamp"]) < _ready_since(
                pods[before]
            ):
                raise StoryError(
                    f"expected that {after} is created after {before} is ready; found it earlier"
                )
        click.echo("  Each member was created after the previous one was ready.")

    async def break_it(self) -> None:
        """Roll out an image that does not exist, and show what the set and the pod say."""
        self.show("petset-broken.yaml", "kind: PetSet")
        await self.apply_file("petset-broken.yaml")
        await self.until("the set names the pod that fails", self._blamed)
        await self.until(
            "the pod has its Event", lambda: self._any_event("Pod", "db-2", "Failed", "BackOff")
        )
        images = await self._images()
        if images != dict(zip(_MEMBERS, (_FIRST_IMAGE, _FIRST_IMAGE, _BROKEN_IMAGE), strict=True)):
            raise StoryError(f"expected that the update stops at db-2; found: {images}")
        click.echo(
            "  The update stopped at db-2; db-0 and db-1 still run and serve. `kubectl describe petset db`:"
        )
        click.echo()
        click.secho(
            indent(_describe_set(await self._set(), await self.events("PetSet", _SET))), fg="yellow"
        )
        click.echo()
        click.echo("  `kubectl describe pod db-2`:")
        click.echo()
        pod = await self.api.get(PODS, "db-2", namespace=NAMESPACE)
        click.secho(
            indent(describe_pod(pod, await self._events_of(pod), datetime.now(UTC))), fg="yellow"
        )

    async def correct_it(self) -> None:
        """Apply the corrected image; the member that cannot start is replaced without further help."""
        self.show("petset-corrected.yaml", "kind: PetSet")
        await self.apply_file("petset-corrected.yaml")
        await self.until(
            "all members run the corrected image", lambda: self._completed(_SECOND_IMAGE)
        )
        await self.until("the set does not fail any more", self._healthy)
        click.echo(
            "  petset/db replaced db-2, which could not start, and then updated db-1 and db-0."
        )
        click.echo("  (A StatefulSet waits for db-2 until a user deletes the pod.)")

    async def roll_back(self) -> None:
        """Go back to the first revision by one command."""
        await self.command("petset", "history", _SET, "-n", NAMESPACE)
        await self.command("petset", "rollback", _SET, "--to", "1", "-n", NAMESPACE)
        await self.until("all members run the first image", lambda: self._completed(_FIRST_IMAGE))
        click.echo(f"  All three members are ready and run {_FIRST_IMAGE} again.")

    async def _set(self) -> JSONObject:
        return await self.api.get(
            await self.api.resolve(_GROUP, "PetSet"), _SET, namespace=NAMESPACE
        )

    async def _pods(self) -> dict[str, JSONObject]:
        found = (await self.api.list(PODS, namespace=NAMESPACE, label_selector=f"app={_SET}")).items
        return {
            pod["metadata"]["name"]: pod
            for pod in found
            if "deletionTimestamp" not in pod["metadata"]
        }

    async def _images(self) -> dict[str, str]:
        return {
            name: pod["spec"]["containers"][0]["image"]
            for name, pod in sorted((await self._pods()).items())
        }

    async def _completed(self, image: str) -> dict[str, JSONObject] | None:
        """Return the members when all run `image`, are ready, and the set says that the update is complete."""
        if await self._images() != dict.fromkeys(_MEMBERS, image):
            return None
        status = (await self._set()).get("status") or {}
        done = status.get("currentRevision") == status.get("updateRevision")
        return (
            await self._pods()
            if done and status.get("availableReplicas") == len(_MEMBERS)
            else None
        )

    async def _blamed(self) -> JSONObject | None:
        degraded = await self._condition_of_set("Degraded")
        named = (
            degraded.get("status") == "True"
            and "db-2: container db: ImagePullBackOff" in degraded["message"]
        )
        return await self._any_event("PetSet", _SET, degraded["reason"]) if named else None

    async def _healthy(self) -> bool:
        return bool((await self._condition_of_set("Degraded")).get("status") == "False")

    async def _condition_of_set(self, type_: str) -> dict[str, Any]:
        conditions = ((await self._set()).get("status") or {}).get("conditions") or []
        return next((each for each in conditions if each["type"] == type_), {})

    async def _any_event(self, kind: str, name: str, *reasons: str) -> JSONObject | None:
        return next(
            (each for each in await self.events(kind, name) if each["reason"] in reasons), None
        )

    async def _events_of(self, pod: JSONObject) -> list[JSONObject]:
        """Return the Events about this pod, and not those about earlier ones of its name."""
        uid = pod["metadata"]["uid"]
        return [
            each
            for each in await self.events("Pod", pod["metadata"]["name"])
            if _regarding(each) == uid
        ]


def _regarding(event: JSONObject) -> str:
    return str((event.get("involvedObject") or {}).get("uid") or "")


def _ready_since(pod: JSONObject) -> datetime:
    (ready,) = (each for each in pod["status"]["conditions"] if each["type"] == "Ready")
    return parse_time(ready["lastTransitionTime"])


def _describe_set(pets: JSONObject, events: list[JSONObject]) -> str:
    """Return the conditions and Events of a PetSet, in short."""
    lines = ["Status:", "  Conditions:"]
    for condition in pets["status"]["conditions"]:
        lines.append(
            f"    {condition['type'] + ':':<13}{condition['status']:<6} {condition['reason']}"
        )
        lines.append(f"                 {condition['message']}")
    return "\n".join([*lines, describe_events(events, datetime.now(UTC))])
