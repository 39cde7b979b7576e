"""CRDs made of classes are taken by a real kube-apiserver without a warning, and their rules hold there."""

from __future__ import annotations

import enum
import json
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from kubernetes.client.models import V1JobTemplateSpec, V1LabelSelector, V1PersistentVolumeClaimSpec, V1PodTemplateSpec
from pydantic import Base64Bytes, Field

from operatorkit.conditions import Condition
from operatorkit.controlplane.real import RealControlPlane, find
from operatorkit.crd.render import render
from operatorkit.resource import (
    Atomic,
    Duration,
    Embedded,
    IntOrString,
    LabelSelector,
    ListMap,
    ListSet,
    Model,
    NoSpec,
    NoStatus,
    Nullable,
    PreserveUnknown,
    PrinterColumn,
    Quantity,
    Resource,
    Rule,
    Scale,
    at_most_one_of,
    exactly_one_of,
    immutable,
)

FOUND = find()
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        FOUND is None or FOUND.kubectl is None,
        reason="no programs of a real control plane: set KUBEBUILDER_ASSETS, or make test-real where Go is",
    ),
]


class Color(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Port(Model):
    name: str
    protocol: Literal["TCP", "UDP"] = "TCP"
    number: Annotated[int, Field(ge=1, le=65535)]


class S3(Model):
    type: Literal["s3"]
    bucket: Annotated[str, Field(min_length=3)]


class Disk(Model):
    class_rules = (Rule("self.path.startsWith('/')", message="path must be absolute"),)

    type: Literal["disk", "ssd"]
    path: str


class Source(Model):
    class_rules = (exactly_one_of("url", "file"), at_most_one_of("user", "token"))

    url: str | None = None
    file: str | None = None
    user: str | None = None
    token: str | None = None


class AllSpec(Model):
    """The wish."""

    class_rules = (Rule("self.min <= self.max", message="min must not be above max", field_path=".min"),)

    min: Annotated[int, Field(ge=0, le=100)] = 0
    max: int = 10
    ratio: Annotated[float, Field(gt=0, lt=1, multiple_of=0.25)] | None = None
    zone: Annotated[str, Field(max_length=20), immutable("cannot move")] = "a"
    color: Color = Color.RED
    level: Literal[1, 2] = 1
    note: Annotated[str | None, Nullable()] = None
    when: datetime | None = None
    wait: Annotated[Duration, Field(ge=timedelta(seconds=1))] = timedelta(minutes=5)
    port: IntOrString = 80
    blob: Base64Bytes | None = None
    size: Quantity = "1Gi"
    labels: dict[str, Annotated[str, Field(max_length=63)]] = {}
    free: dict[str, Any] = {}
    anything: Any = None
    keep: Annotated[dict[str, Any], PreserveUnknown()] = {}
    obj: Annotated[dict[str, Any], Embedded()] | None = None
    ports: Annotated[list[Port], ListMap("name", "protocol"), Field(max_length=5)] = []
    tags: Annotated[list[str], ListSet()] = []
    args: Annotated[list[str], Atomic()] = []
    selector: LabelSelector | None = None
    other_selector: V1LabelSelector | None = None
    store: Annotated[S3 | Disk, Field(discriminator="type")] | None = None
    source: Source | None = None
    template: V1PodTemplateSpec | None = None
    claim: V1PersistentVolumeClaimSpec | None = None


class AllStatus(Model):
    conditions: list[Condition] = []
    replicas: int = 0
    selector: str | None = None


class All(
    Resource[AllSpec, AllStatus],
    group="x.example.io",
    version="v1",
    plural="everything",
    short_names=["al"],
    categories=["all"],
    printer_columns=[
        PrinterColumn("Min", ".spec.min", type="integer"),
        PrinterColumn("Color", ".spec.color", priority=1),
    ],
    scale=Scale(spec_replicas_path=".spec.min", label_selector_path=".status.selector"),
    rules=[Rule("self.metadata.name.size() < 20", message="the name is too long")],
    selectable_fields=[".spec.color"],
):
    """All that there is."""


class Job(Model):
    job: V1JobTemplateSpec


class Runner(Resource[Job, NoStatus], group="x.example.io", version="v1"):
    pass


class Note(Resource[NoSpec, NoStatus], group="x.example.io", version="v1", scope="Cluster"):
    data: dict[str, str] = {}


@pytest.fixture(scope="module")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with RealControlPlane() as controlplane:
        home = tmp_path_factory.mktemp("real")  # kubectl caches by port what another control plane may have had there
        config = controlplane.write_kubeconfig(home / "kubeconfig")

        def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
            assert FOUND is not None
            command = [str(FOUND.kubectl), "--kubeconfig", str(config), *arguments]
            environment = {**os.environ, "HOME": str(home)}
            return subprocess.run(command, input=given, capture_output=True, text=True, check=False, env=environment)

        done = run("apply", "--server-side", "--warnings-as-errors", "-f", "-", given=render([All.crd()]))
        assert done.returncode == 0, done.stderr
        deadline = time.monotonic() + 60
        while (done := run("get", All.crd()["metadata"]["name"])).returncode and time.monotonic() < deadline:
            time.sleep(0.1)  # discovery tells of a kind a moment after it is established
        assert done.returncode == 0, done.stderr
        yield run


@pytest.mark.parametrize("kind", [All, Runner, Note])
def test_a_definition_is_taken_without_a_warning(kubectl: Any, kind: type[Resource[Any, Any]]) -> None:
    text = render([kind.crd()])
    done = kubectl("apply", "--server-side", "--dry-run=server", "--warnings-as-errors", "-f", "-", given=text)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_definitions_of_pki_are_taken_without_a_warning(kubectl: Any) -> None:
    from operatorkit.cli.crd import resources_in

    text = render([kind.crd() for kind in resources_in("operators.pki.api")])
    done = kubectl("apply", "--server-side", "--dry-run=server", "--warnings-as-errors", "-f", "-", given=text)
    assert (done.returncode, done.stderr) == (0, "")


def manifest(spec: dict[str, Any], name: str = "a") -> str:
    return json.dumps({"apiVersion": "x.example.io/v1", "kind": "All", "metadata": {"name": name}, "spec": spec})


@pytest.mark.parametrize(
    ("spec", "error_found"),
    [
        ({}, None),
        ({"min": 5, "max": 4}, "spec.min: Invalid value: min must not be above max"),
        ({"store": {"type": "s3", "bucket": "abc"}}, None),
        ({"store": {"type": "s3"}}, "bucket must be set if type is s3"),
        ({"store": {"type": "s3", "bucket": "abc", "path": "/x"}}, "path may be set only if type is disk or ssd"),
        ({"store": {"type": "ssd", "path": "x"}}, "path must be absolute"),
        ({"store": {"type": "ssd", "path": "/x"}}, None),
        ({"source": {}}, "exactly one of url, file must be set"),
        ({"source": {"url": "x", "file": "y"}}, "exactly one of url, file must be set"),
        ({"source": {"url": "x", "user": "u", "token": "t"}}, "at most one of user, token may be set"),
        ({"source": {"url": "x", "user": "u"}}, None),
        ({"wait": "1d"}, "spec.wait in body should match"),
        ({"wait": "10ms"}, "must be at least 1s"),
        ({"size": "1 Gi"}, "spec.size in body should match"),
        ({"size": 1, "port": "http", "blob": "YQ==", "ratio": 0.5, "note": None}, None),
        ({"ports": [{"name": "a", "number": 1}, {"name": "a", "number": 2}]}, "spec.ports[1]: Duplicate value"),
        ({"obj": {"kind": "Pod"}}, "spec.obj.apiVersion: Required value"),
        ({"template": {"spec": {"containers": [{"name": "x", "resources": {"limits": {"cpu": 1}}}]}}}, None),
        ({"template": {"spec": {}}}, "spec.template.spec.containers: Required value"),
    ],
)
def test_an_object_is_evaluated_by_the_rules_of_its_class(
    kubectl: Any, spec: dict[str, Any], error_found: str | None
) -> None:
    done = kubectl("create", "--dry-run=server", "-f", "-", given=manifest(spec))
    if error_found is None:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert error_found in done.stderr


def test_what_the_server_fills_in_is_what_python_assumes(kubectl: Any) -> None:
    done = kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", given=manifest({"color": "blue"}, "b"))
    stored = All.read(json.loads(done.stdout))
    assert stored.spec.model_copy() == AllSpec(color=Color.BLUE)


def test_an_immutable_field_keeps_its_value(kubectl: Any) -> None:
    assert kubectl("create", "-f", "-", given=manifest({"zone": "a"}, "stays")).returncode == 0
    done = kubectl("patch", "all.x.example.io/stays", "--type=merge", "-p", '{"spec":{"zone":"b"}}')
    assert 'spec.zone: Invalid value: "b": cannot move' in done.stderr
    assert kubectl("patch", "all.x.example.io/stays", "--type=merge", "-p", '{"spec":{"max":11}}').returncode == 0


def test_recorded_answers_are_still_those_of_the_server(kubectl: Any) -> None:
    recorded = json.loads((Path(__file__).parents[1] / "unit/crd/recorded.json").read_text())
    version = json.loads(kubectl("version", "-o", "json").stdout)["serverVersion"]["gitVersion"]
    assert version == recorded["server"]
