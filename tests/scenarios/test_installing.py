"""Definitions: whose are installed, in which versions, and that none of those that are there loses anything unasked."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from pathlib import Path
from typing import Any

import pytest

from operatorkit import Context, InputError, Model, Operator, Resource
from operatorkit._runtime.install import install_stand_ins
from operatorkit.cluster import PatchType
from operatorkit.errors import NotFound
from operatorkit.names import ApiResource
from operatorkit.resource import NoStatus
from operatorkit.testing.running import CRDS, install_crds


class Small(Model):
    size: int = 1


class Large(Model):
    size: int = 1
    note: str = ""
    selector: dict[str, str] = {}


def kind(name: str, spec: type[Model], **options: Any) -> type[Resource[Any, Any]]:
    """Return a class as if it had been written down: no two tests share a kind."""
    options = {"group": "install.example.io", "version": "v1"} | options
    made: type[Resource[Any, Any]] = type(name, (Resource[spec, NoStatus],), {"__module__": __name__}, **options)
    return made


@pytest.fixture
def name() -> str:
    return f"Kind{secrets.token_hex(4)}"


def operator_of(main: type[Any], *owns: type[Any], **options: Any) -> Operator:
    app = Operator("installer", **options)

    @app.reconcile(main, owns=owns)
    async def reconcile(obj: Any, ctx: Context) -> None:
        for child in owns:
            await ctx.apply(child(metadata={"name": obj.metadata.name}, spec=Small(size=5)))

    return app


async def put_by_another_client(cluster: Any, manifest: dict[str, Any]) -> None:
    await cluster.patch(
        CRDS, manifest["metadata"]["name"], manifest, patch_type=PatchType.APPLY, field_manager="kubectl", force=True
    )


async def versions_of(cluster: Any, resource: ApiResource) -> list[str]:
    found = await cluster.get(CRDS, resource.qualified)
    return sorted(version["name"] for version in found["spec"]["versions"])


async def test_a_definition_that_is_there_keeps_its_fields_unless_asked_otherwise(cluster, operator, name):
    large, small = kind(name, Large), kind(name, Small)
    await put_by_another_client(cluster, large.crd())
    before = await cluster.get(CRDS, small.api_resource().qualified)
    with pytest.raises(InputError) as caught:
        async with operator(operator_of(small)):
            pass
    assert f"the definition {small.api_resource().qualified} exists, and would lose" in str(caught.value)
    assert "\n  v1: spec.note: the field is removed: its values are pruned" in str(caught.value)
    assert "\n  v1: spec.selector: the field is removed" in str(caught.value)
    assert "pass --allow-shrink; if the kind is not yours, write external=True" in str(caught.value)
    assert (await cluster.get(CRDS, small.api_resource().qualified))["spec"] == before["spec"]
    async with operator(operator_of(small), allow_shrink=True):
        found = await cluster.get(CRDS, small.api_resource().qualified)
        schema = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        assert set(schema["properties"]["spec"]["properties"]) == {"size"}


async def test_nothing_is_applied_when_one_definition_of_several_would_lose_something(cluster, name):
    await put_by_another_client(cluster, kind(name, Large).crd())
    other = kind(f"Other{name}", Small)
    with pytest.raises(InputError, match=r"spec\.note"):
        await install_crds(cluster, [other, kind(name, Small)])
    with pytest.raises(NotFound):
        await cluster.get(CRDS, other.api_resource().qualified)


async def test_what_only_operatorkit_applied_may_change_in_a_test_and_not_elsewhere(cluster, name):
    await install_crds(cluster, [kind(name, Large)])
    with pytest.raises(InputError, match=r"spec\.note"):
        await install_crds(cluster, [kind(name, Small)], shrinking="never")
    await install_crds(cluster, [kind(name, Small)])
    await install_crds(cluster, [kind(name, Large)], shrinking="never")  # to grow is no loss


async def test_all_versions_of_a_kind_are_installed(cluster, operator, name):
    new = kind(name, Small, version="v2")
    old = kind(name, Small, version="v1", storage=False)
    resource = new.api_resource()
    async with operator(operator_of(new, versions=[old])):
        assert await versions_of(cluster, resource) == ["v1", "v2"]
        assert (await cluster.list(old.api_resource(), namespace=cluster.namespace)).items == []
    with pytest.raises(InputError, match="v1: the version is removed"):
        await install_crds(cluster, [new], shrinking="never")
    assert await versions_of(cluster, resource) == ["v1", "v2"]


async def test_a_version_in_which_objects_are_stored_is_named(cluster, name):
    await install_crds(cluster, [kind(name, Small, version="v1")])
    with pytest.raises(InputError, match=r"v1: objects may be stored in this version \(status.storedVersions\)"):
        await install_crds(cluster, [kind(name, Small, version="v2")], shrinking="never")


async def test_the_definition_of_an_external_kind_is_left_as_it_is(cluster, operator, name):
    theirs = kind(f"Theirs{name}", Large, group="theirs.example.com")
    own = kind(f"Theirs{name}", Small, group="theirs.example.com", external=True)
    main = kind(name, Small)
    await put_by_another_client(cluster, theirs.crd())
    async with operator(operator_of(main, own)) as running:
        before = await cluster.get(CRDS, own.api_resource().qualified)
        assert not [entry for entry in before["metadata"]["managedFields"] if entry["manager"] == "operatorkit"]
        await cluster.create(main.api_resource(), main(metadata={"name": "a"}).write(), namespace=cluster.namespace)
        await running.settled()
        made = await cluster.get(own.api_resource(), "a", namespace=cluster.namespace)
        assert made["spec"] == {"size": 5}


async def test_an_external_kind_is_not_installed_whoever_asks_for_it(cluster, name):
    theirs = kind(f"Never{name}", Small, group="theirs.example.com", external=True)
    await install_crds(cluster, [theirs])
    with pytest.raises(NotFound):
        await cluster.get(CRDS, theirs.api_resource().qualified)


async def test_unknown_fields_of_an_external_kind_stay_with_those_who_set_them(cluster, operator, name):
    theirs = kind(f"Theirs{name}", Large, group="theirs.example.com")
    own = kind(f"Theirs{name}", Small, group="theirs.example.com", external=True)
    main, notes = kind(name, Small), []
    await put_by_another_client(cluster, theirs.crd())
    app = Operator("installer")

    @app.reconcile(main, owns=[own])
    async def reconcile(obj: Any, ctx: Context) -> None:
        known = ctx.get(own, obj.metadata.name)
        if known is None:
            await ctx.apply(own(metadata={"name": obj.metadata.name}, spec=Small(size=5)))
            return
        notes.append(known.spec.__pydantic_extra__.get("note"))
        known.spec.size = 6
        await ctx.apply(known)

    async with operator(app) as running:
        await cluster.create(main.api_resource(), main(metadata={"name": "a"}).write(), namespace=cluster.namespace)
        await running.settled()
        await cluster.patch(
            own.api_resource(),
            "a",
            {"apiVersion": own.api_version, "kind": own.kind, "spec": {"note": "of somebody else"}},
            patch_type=PatchType.APPLY,
            field_manager="somebody",
            namespace=cluster.namespace,
        )
        await running.settled()
        made = await cluster.get(own.api_resource(), "a", namespace=cluster.namespace)
        assert made["spec"] == {"size": 6, "note": "of somebody else"}
        assert "of somebody else" in notes
        mine = [entry for entry in made["metadata"]["managedFields"] if entry["manager"] == "installer"]
        assert all("f:note" not in entry["fieldsV1"].get("f:spec", {}) for entry in mine)


async def test_an_external_kind_that_is_missing_gets_a_stand_in_that_keeps_all(cluster, name):
    own = kind(f"Theirs{name}", Small, group=f"{name.lower()}.k8s.io", external=True)
    await install_stand_ins([own], cluster)
    body = {**own(metadata={"name": "a"}).write(), "spec": {"size": 1, "anything": [{"goes": True}]}}
    made = await cluster.create(own.api_resource(), body, namespace=cluster.namespace)
    assert made["spec"] == body["spec"]
    await install_stand_ins([own], cluster)  # a second time changes nothing


SOURCE = """
from operatorkit import Context, Model, Operator, Resource
from operatorkit.resource import NoStatus

class Spec(Model):
    size: int = 1

class Main(Resource[Spec, NoStatus], group="install.example.io", version="v1", kind="{name}"): ...
class Theirs(Resource[Spec, NoStatus], group="theirs.example.com", version="v1", kind="Theirs{name}"{external}): ...

app = Operator("installer")

@app.reconcile(Main, owns=[Theirs])
async def reconcile(main: Main, ctx: Context) -> None: ...
"""


async def run(folder: Path, *arguments: str) -> tuple[int | None, str]:
    """Return how a command ended, and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "operatorkit", *arguments),
        cwd=folder,
        env={**os.environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


async def test_run_install_rejects_what_would_shrink_and_says_what(cluster, kubeconfig, tmp_path, name):
    (tmp_path / "app.py").write_text(SOURCE.format(name=name, external=", external=True"))
    await put_by_another_client(cluster, kind(name, Large).crd())
    await put_by_another_client(cluster, kind(f"Theirs{name}", Large, group="theirs.example.com").crd())
    code, said = await run(tmp_path, "run", "app.py", "--install", "--kubeconfig", str(kubeconfig))
    assert code == 1, said
    assert "v1: spec.note: the field is removed" in said
    assert "theirs.example.com" not in said


async def test_run_install_asks_whose_a_kind_is(cluster, kubeconfig, tmp_path, name):
    (tmp_path / "app.py").write_text(SOURCE.format(name=name, external=""))
    await put_by_another_client(cluster, kind(f"Theirs{name}", Large, group="theirs.example.com").crd())
    code, said = await run(tmp_path, "run", "app.py", "--install", "--kubeconfig", str(kubeconfig))
    assert code == 1, said
    assert "write external=True in the class if the kind is defined elsewhere" in said
    with pytest.raises(NotFound):
        await cluster.get(CRDS, kind(name, Small).api_resource().qualified)
