"""`operatorkit petset`: what `kubectl rollout` does for StatefulSets, and the handover of members.

What belongs here: options, requests, and what is printed. What does not: decisions (`plan`, `simulation`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.commands import cluster_options, output_option, with_cluster
from operatorkit.errors import InputError, NotFound

if TYPE_CHECKING:
    from operatorkit.cluster import ClusterAPI
    from operators.petset.api import PetSet
    from operators.petset.handover import Deadline

__all__ = ["command"]

T = TypeVar("T")
JSON = dict[str, Any]

_RESTARTED_AT = "kubectl.kubernetes.io/restartedAt"


@click.group("petset")
def command() -> None:
    """Inspect PetSets and control their rollouts."""


@command.command("plan")
@click.argument("target", metavar="NAME|FILE")
@cluster_options
@output_option
def plan_command(
    target: str, kubeconfig: str | None, context: str | None, namespace: str | None, output: str
) -> None:
    """Print the next steps of a PetSet, in order, assuming that every new pod becomes ready; change nothing.

    For a NAME, print the remaining steps; for a FILE, the steps that applying it would cause. The exit code is 0.
    """
    wanted = _read_file(target) if Path(target).exists() else None

    async def work(api: ClusterAPI, where: str) -> list[str]:
        from operators.petset.simulation import describe

        name = (
            str((wanted.get("metadata") or {}).get("name") or "") if wanted is not None else target
        )
        if wanted is not None:
            where = str((wanted.get("metadata") or {}).get("namespace") or where)
        pets = await _merged(api, name, where, wanted)
        return describe(pets, await _observe_live(api, pets))

    lines = with_cluster(kubeconfig, context, namespace, work)
    if output == "json":
        click.echo(json.dumps(lines))
        return
    for number, line in enumerate(lines, start=1):
        click.echo(f"{number:4}  {line}")
    if not lines:
        click.echo("nothing would change")


@command.command("history")
@click.argument("name")
@cluster_options
@output_option
def history(
    name: str, kubeconfig: str | None, context: str | None, namespace: str | None, output: str
) -> None:
    """List the revisions of a PetSet: number, name, images, and whether it is the current or the update revision."""

    async def work(api: ClusterAPI, where: str) -> list[JSON]:
        pets = await _get(api, name, where)
        return [
            {
                "number": revision["revision"],
                "name": revision["metadata"]["name"],
                "images": _images(revision),
                "current": revision["metadata"]["name"] == pets.status.current_revision,
                "update": revision["metadata"]["name"] == pets.status.update_revision,
                "created": revision["metadata"].get("creationTimestamp"),
            }
            for revision in await _revisions(api, pets)
        ]

    rows = with_cluster(kubeconfig, context, namespace, work)
    if output == "json":
        click.echo(json.dumps(rows))
        return
    click.echo(f"{'NUMBER':8}{'REVISION':40}{'IMAGES':40}STATE")
    for row in rows:
        state = " ".join(word for word in ("current", "update") if row[word])
        click.echo(
            f"{row['number']:<8}{row['name']:40}{', '.join(row['images']):40}{state}".rstrip()
        )


@command.command("rollback")
@click.argument("name")
@click.option(
    "--to",
    metavar="REVISION",
    help="Number or name of the revision; by default the one before the newest.",
)
@cluster_options
def rollback(
    name: str, to: str | None, kubeconfig: str | None, context: str | None, namespace: str | None
) -> None:
    """Restore the template of an older revision; the rollout follows the update strategy."""

    async def work(api: ClusterAPI, where: str) -> str:
        from operatorkit.cluster import PatchType
        from operators.petset.api import PetSet
        from operators.petset.template import template_of

        pets = await _get(api, name, where)
        revision = _chosen(await _revisions(api, pets), to, name)
        patch = [
            {
                "op": "test",
                "path": "/metadata/resourceVersion",
                "value": pets.metadata.resource_version,
            },
            {"op": "replace", "path": "/spec/template", "value": template_of(revision["data"])},
        ]
        await api.patch(
            PetSet.api_resource(), name, patch, patch_type=PatchType.JSON, namespace=where
        )
        return f"petset.{PetSet.api_resource().group}/{name} rolled back to {revision['metadata']['name']}"

    click.echo(with_cluster(kubeconfig, context, namespace, work))


@command.command("restart")
@click.argument("name")
@cluster_options
def restart(name: str, kubeconfig: str | None, context: str | None, namespace: str | None) -> None:
    """Recreate all members of a PetSet in the order of an update."""

    async def work(api: ClusterAPI, where: str) -> str:
        from operatorkit.clock import format_time
        from operatorkit.cluster import PatchType
        from operators.petset.api import PetSet

        await _get(api, name, where)
        annotations = {_RESTARTED_AT: format_time(SYSTEM_CLOCK.now())}
        patch = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
        await api.patch(
            PetSet.api_resource(), name, patch, patch_type=PatchType.MERGE, namespace=where
        )
        return f"petset.{PetSet.api_resource().group}/{name} restarted"

    click.echo(with_cluster(kubeconfig, context, namespace, work))


_timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=120.0,
    show_default=True,
    help="Seconds to wait for the controllers.",
)


@command.command("adopt")
@click.argument("name")
@click.option(
    "--print", "printed", is_flag=True, help="Print the PetSet as YAML and change nothing."
)
@_timeout_option
@cluster_options
def adopt(
    name: str,
    printed: bool,
    timeout: float,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
) -> None:
    """Create a PetSet that adopts the pods, claims and revisions of the StatefulSet NAME; no pod is restarted.

    The operator then deletes the StatefulSet and keeps its pods. `release --to-statefulset` reverses this.
    """

    async def work(api: ClusterAPI, where: str) -> None:
        from operators.petset import handover

        if printed:
            await _print_pet_set(api, name, where)
            return
        lines = handover.adopt(api, name, where, deadline=_deadline(timeout))
        async for line in lines:
            click.echo(line)

    with_cluster(kubeconfig, context, namespace, work)


def _deadline(seconds: float) -> Deadline:
    from operators.petset.handover import Deadline

    return Deadline(SYSTEM_CLOCK, timedelta(seconds=seconds))


async def _print_pet_set(api: ClusterAPI, name: str, where: str) -> None:
    import yaml
    from kubernetes.client.models import V1StatefulSet

    from operatorkit.resource import api_resource_of
    from operators.petset.conversion import pet_set_of

    try:
        found = await api.get(api_resource_of(V1StatefulSet), name, namespace=where)
    except NotFound as error:
        raise InputError(
            f"there is no StatefulSet {name} in namespace {where}: name another with -n"
        ) from error
    click.echo(yaml.safe_dump(pet_set_of(found), sort_keys=False), nl=False)


@command.command("release")
@click.argument("name")
@click.option(
    "--to-statefulset",
    is_flag=True,
    help="Create a StatefulSet that owns the members; no pod is restarted.",
)
@click.option(
    "--wait/--no-wait",
    default=True,
    help="--no-wait: do not wait for the controllers; the StatefulSet keeps the strategy OnDelete.",
)
@_timeout_option
@cluster_options
def release(
    name: str,
    to_statefulset: bool,
    wait: bool,
    timeout: float,
    kubeconfig: str | None,
    context: str | None,
    namespace: str | None,
) -> None:
    """Remove the finalizers of a PetSet and of its pods, so that they can be deleted without the operator.

    Use it after an uninstall, or if a namespace cannot be deleted. memberSafety Strict is not guaranteed afterwards.
    With --to-statefulset, a StatefulSet of the same name replaces the PetSet and owns its pods and claims.
    """

    async def work(api: ClusterAPI, where: str) -> None:
        from operators.petset import handover

        if to_statefulset:
            async for line in handover.give_back(
                api, name, where, deadline=_deadline(timeout), wait=wait
            ):
                click.echo(line)
            return
        pets = (await _get(api, name, where)).write()
        lines = [line async for line in handover.drop_all_finalizers(api, pets, where)]
        for line in lines or [
            f"PetSet {where}/{name} and its pods have no finalizers of the operator"
        ]:
            click.echo(line)

    with_cluster(kubeconfig, context, namespace, work)


# What is read ---------------------------------------------------------------------------------------------------------


def _read_file(path: str) -> JSON:
    """Return the PetSet of a manifest. Raises InputError, which names the file and what is wrong."""
    import yaml

    from operators.petset.api import PetSet

    try:
        found = [
            each for each in yaml.safe_load_all(Path(path).read_text(encoding="utf-8")) if each
        ]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read as YAML: {error}") from error
    sets = [each for each in found if isinstance(each, dict) and each.get("kind") == PetSet.kind]
    if len(sets) != 1:
        raise InputError(f"{path} has {len(sets)} objects of kind PetSet: give a file with one")
    return sets[0]


async def _get(api: ClusterAPI, name: str, where: str) -> PetSet:
    from operators.petset.api import PetSet

    try:
        return PetSet.read(await api.get(PetSet.api_resource(), name, namespace=where))
    except NotFound as error:
        raise InputError(
            f"there is no PetSet {name} in namespace {where}: name another with -n"
        ) from error


async def _merged(api: ClusterAPI, name: str, where: str, wanted: JSON | None) -> PetSet:
    """Return a PetSet as it is, or as it would be after a manifest is applied, which the server is asked for."""
    from operatorkit.cluster import PatchType
    from operators.petset.api import PetSet

    if wanted is None:
        return await _get(api, name, where)
    answer = await api.patch(
        PetSet.api_resource(),
        name,
        wanted,
        patch_type=PatchType.APPLY,
        namespace=where,
        field_manager="operatorkit-petset-plan",
        force=True,
        dry_run=True,
    )
    return PetSet.read(answer)


async def _revisions(api: ClusterAPI, pets: PetSet) -> list[JSON]:
    """Return the ControllerRevisions of a PetSet, oldest first."""
    from kubernetes.client.models import V1ControllerRevision

    from operatorkit.resource import api_resource_of

    found = (
        await api.list(api_resource_of(V1ControllerRevision), namespace=pets.metadata.namespace)
    ).items
    own = [
        each
        for each in found
        if any(
            owner.get("uid") == pets.metadata.uid
            for owner in each["metadata"].get("ownerReferences") or ()
        )
    ]
    return sorted(own, key=lambda each: int(each["revision"]))


def _images(revision: Mapping[str, Any]) -> list[str]:
    from operators.petset.template import template_of

    spec = template_of(revision["data"]).get("spec") or {}
    return [str(container.get("image") or "") for container in spec.get("containers") or ()]


def _chosen(revisions: list[JSON], to: str | None, name: str) -> JSON:
    """Return the revision that is meant. Raises InputError, which lists those that there are."""
    if to is None:
        if len(revisions) < 2:
            raise InputError(f"PetSet {name} has no older revision to roll back to")
        return revisions[-2]
    found = [each for each in revisions if to in {each["metadata"]["name"], str(each["revision"])}]
    if not found:
        known = ", ".join(f"{each['revision']} ({each['metadata']['name']})" for each in revisions)
        raise InputError(f"PetSet {name} has no revision {to}: it has {known}")
    return found[0]


async def _observe_live(api: ClusterAPI, pets: PetSet) -> Any:
    """Return the snapshot of a PetSet as the cluster has it now."""
    from kubernetes.client.models import V1ControllerRevision, V1PersistentVolumeClaim, V1Pod

    from operatorkit.clock import SYSTEM_CLOCK
    from operatorkit.listed import ListedReader
    from operators.petset.observe import (
        POD_INDEX,
        REVISION_INDEX,
        observe,
        pod_index,
        revision_index,
    )

    kinds = (
        V1Pod,
        V1PersistentVolumeClaim,
        V1ControllerRevision,
    )  # a node that is not listed counts as deleted
    indexes: dict[tuple[type[Any], str], Callable[[Any], Any]] = {
        (V1Pod, POD_INDEX): pod_index,
        (V1ControllerRevision, REVISION_INDEX): revision_index,
    }
    reader = await ListedReader.load(
        api, *kinds, namespace=pets.metadata.namespace, indexes=indexes
    )
    return observe(pets, reader, SYSTEM_CLOCK.now())
