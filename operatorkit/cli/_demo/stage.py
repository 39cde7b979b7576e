"""What the stories of the demo share: applying manifests, waiting for what they say, and printing it."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import click
import yaml

from operatorkit.cluster import ClusterAPI, JSONObject, PatchType
from operatorkit.errors import NotFound, OperatorKitError
from operatorkit.kinds import CUSTOM_RESOURCE_DEFINITIONS, EVENTS
from operatorkit.names import ApiResource, GroupVersionKind

__all__ = ["NAMESPACE", "Stage", "StoryError", "indent"]

T = TypeVar("T")

NAMESPACE = "shop"
_TIMEOUT_SECONDS = 60.0
_MANAGER = "platform-engineer"


class StoryError(OperatorKitError):
    """The demo did not go as printed; the message says what was expected and what was found."""


class Stage:
    """The cluster of the demo and the terminal; stories are subclasses."""

    namespace: ClassVar[str] = NAMESPACE

    def __init__(self, api: ClusterAPI, *, started: float, kubeconfig: Path) -> None:
        self.api = api
        self._started = started
        self._kubeconfig = kubeconfig

    def say(self, text: str) -> None:
        """Print a chapter's headline with the time since the start."""
        click.echo()
        click.secho(f"[{time.monotonic() - self._started:5.1f}s] {text}", bold=True)

    async def install(
        self, definitions: Iterable[JSONObject], *, namespaces: Iterable[str]
    ) -> None:
        """Create custom resource definitions and namespaces, and wait until the definitions are established."""
        names = [await self.apply(definition) for definition in definitions]
        for name in namespaces:
            await self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for name in names:
            await self.until(
                f"CRD {name} is established",
                partial(self.condition, CUSTOM_RESOURCE_DEFINITIONS, name, None, "Established"),
            )
            click.echo(f"  customresourcedefinition/{name} established")

    async def command(
        self, *words: str, cwd: Path | None = None, redirect: str | None = None
    ) -> str:
        """Run a command of operatorkit, print it with its output, and return the output.

        With `redirect`, the name of a file, the output is not printed: the command shows where it goes.
        Raises StoryError when the command fails.
        """
        shown = " ".join(words) + (f" > {redirect}" if redirect else "")
        click.echo(f"    $ operatorkit {shown}")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "operatorkit", *words),
            env={**os.environ, "KUBECONFIG": str(self._kubeconfig)},
            cwd=cwd,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            output, _ = await process.communicate()
        finally:
            if process.returncode is None:  # the demo was interrupted
                process.kill()
                await process.wait()
        text = output.decode()
        if process.returncode != 0:
            raise StoryError(f"expected that `operatorkit {shown}` succeeds; it printed: {text}")
        if redirect is None:
            click.echo(indent(text))
        return text

    async def apply_file(self, name: str) -> None:
        """Apply the documents of a manifest."""
        for obj in yaml.safe_load_all(_text(name)):
            await self.apply(obj)

    async def apply(self, obj: JSONObject) -> str:
        """Apply one object; return its name."""
        gvk, meta = GroupVersionKind.of(obj["apiVersion"], obj["kind"]), obj["metadata"]
        resource = await self.api.resolve(gvk.group, gvk.kind, gvk.version)
        await self.api.patch(
            resource,
            meta["name"],
            obj,
            namespace=meta.get("namespace"),
            patch_type=PatchType.APPLY,
            field_manager=_MANAGER,
        )
        return str(meta["name"])

    async def until(self, what: str, check: Callable[[], Awaitable[T | None]]) -> T:
        """Return what `check` returns once that is true. Raises StoryError when it takes too long."""
        deadline = time.monotonic() + _TIMEOUT_SECONDS
        last: object = None
        while time.monotonic() < deadline:
            try:
                found = await check()
            except NotFound as error:
                last = error
            else:
                if found:
                    return found
                last = found
            await asyncio.sleep(0.05)
        raise StoryError(
            f"expected within {_TIMEOUT_SECONDS:.0f} s: {what}; found: {last or 'nothing of the kind'}"
        )

    async def condition(
        self, resource: ApiResource, name: str, namespace: str | None, type_: str
    ) -> bool:
        """Return whether an object has a condition that is True."""
        obj = await self.api.get(resource, name, namespace=namespace)
        conditions: list[dict[str, Any]] = obj.get("status", {}).get("conditions") or []
        return any(
            condition["type"] == type_ and condition["status"] == "True" for condition in conditions
        )

    async def events(self, kind: str, name: str) -> list[JSONObject]:
        """Return the Events about an object."""
        selector = f"involvedObject.kind={kind},involvedObject.name={name}"
        return (
            await self.api.list(EVENTS, namespace=self.namespace, field_selector=selector)
        ).items

    async def event(
        self, kind: str, name: str, reason: str, *, count: int = 1
    ) -> JSONObject | None:
        """Return the Event about an object for a reason, once it has been counted `count` times."""
        events = [event for event in await self.events(kind, name) if event["reason"] == reason]
        if len(events) > 1:
            raise StoryError(
                f"expected one Event {reason} about {kind} {name}; found {len(events)}"
            )
        return events[0] if events and (events[0].get("count") or 1) >= count else None

    def show(self, name: str, start: str) -> None:
        """Print the document of a manifest that contains `start`, as a person would type it."""
        (document,) = (part for part in _text(name).split("---\n") if start in part)
        click.secho(indent(document.rstrip()), dim=True)


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def indent(text: str) -> str:
    """Indent every line of `text` below a headline."""
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
