"""Random writes by several managers end alike, owners and refusals included, on the embedded server and on a real one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from pathlib import Path

import pytest

from operatorkit.cluster import LiveCluster, load_config
from operatorkit.cluster.api import PatchType
from operatorkit.controlplane.real import find
from operatorkit.errors import AlreadyExists, ClusterError, NotFound
from operatorkit.names import ApiResource
from operatorkit.testing import eventually
from operatorkit.testing.backends import start

FOUND = find()
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(FOUND is None, reason="no programs of a real control plane: `make test-real` builds them"),
]

WRITES = Path(__file__).parents[1] / "unit/controlplane/embedded/fields/data/writes.json"
CRD = json.loads(WRITES.read_text())["crd"]
DEFINITIONS = ApiResource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
SAMPLES = ApiResource("fields.example.com", "v1", "Sample", "samples", namespaced=True)
# Pods in a form that no controller touches.
TEMPLATES = ApiResource("", "v1", "PodTemplate", "podtemplates", namespaced=True)


@pytest.fixture(scope="module")
def planes():
    with start("embedded") as embedded, start("real") as real:
        yield embedded, real


class Dice:
    """Random objects: few names and values, so that managers meet."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def some(self, values):
        values = list(values)
        self.random.shuffle(values)
        return values[: self.random.randint(0, len(values))]

    def chance(self, share):
        return self.random.random() < share

    def entries(self, names):
        return {name: self.random.choice("12") for name in self.some(names)}

    def sample(self):
        random_values = (1, {"q": 1}, {"q": 2}, [1, 2], "x")
        spec = {
            "set": self.some("abcde"),
            "byKey": [
                {"a": name, **({"b": 8} if self.chance(0.3) else {}), **self.entries(["value"])}
                for name in self.some("pqrs")
            ],
            "labels": self.entries("lmn"),
            "atomic": self.entries("xy"),
            "whole": self.some("abc"),
            "free": {name: self.random.choice(random_values) for name in self.some("uvw")},
            "text": self.random.choice("12"),
        }
        return {"spec": {name: it for name, it in spec.items() if self.chance(0.5)}}

    def container(self, name):
        result = {"name": name, "image": self.random.choice("ij")}
        if self.chance(0.5):
            result["env"] = [{"name": it, "value": self.random.choice("12")} for it in self.some("ABC")]
        if self.chance(0.5):
            udp = {"protocol": "UDP"} if self.chance(0.3) else {}
            result["ports"] = [{"containerPort": it, **udp} for it in self.some([1, 2, 3])]
        if self.chance(0.3):
            result["command"] = self.some("xyz")
        return result

    def pod_template(self):
        spec = {"containers": [self.container(it) for it in self.some("abcd") or ["a"]]}
        if self.chance(0.3):
            spec["volumes"] = [{"name": it, "emptyDir": {}} for it in self.some("vw")]
        if self.chance(0.3):
            spec["nodeSelector"] = self.entries("gh")
        if self.chance(0.3):
            spec["tolerations"] = [{"key": it, "operator": "Exists"} for it in self.some("tu")]
        return {"template": {"metadata": {"labels": self.entries("cd")}, "spec": spec}}


async def outcome(api, resource, body, kind, manager, force):
    """What a server makes of one write, without what is its own choice: ids and times."""
    options = {"patch_type": kind, "namespace": "default", "field_manager": manager}
    try:
        written = await api.patch(resource, "sample", body, force=force, **options)
    except ClusterError as error:
        # The order of causes is that of a map in the real server: it differs from one answer to the next.
        return {"code": error.code, "message": error.message, "causes": sorted(str(it) for it in error.causes)}
    metadata = written["metadata"]
    for field in ("uid", "resourceVersion", "creationTimestamp"):
        metadata.pop(field)
    entries = [
        {name: it for name, it in entry.items() if name != "time"} for entry in metadata.get("managedFields", ())
    ]
    metadata["managedFields"] = sorted(entries, key=lambda it: json.dumps(it, sort_keys=True))
    return written


async def delete(api, resource):
    with contextlib.suppress(NotFound):
        await api.delete(resource, "sample", namespace="default")


@pytest.mark.parametrize("resource", [SAMPLES, TEMPLATES], ids=lambda it: it.kind)
@pytest.mark.parametrize("seed", range(3))
async def test_random_writes_end_alike(planes, resource, seed):
    dice = Dice(seed)
    configs = [load_config(plane.kubeconfig()) for plane in planes]
    async with LiveCluster(configs[0], warn=print) as embedded, LiveCluster(configs[1], warn=print) as real:
        both = (embedded, real)
        await asyncio.gather(*(defined(api) for api in both))
        for _ in range(6):
            await asyncio.gather(*(delete(api, resource) for api in both))
            for step in range(8):
                body = dice.sample() if resource is SAMPLES else dice.pod_template()
                kinds = [PatchType.APPLY, PatchType.APPLY, PatchType.MERGE]
                kinds += [PatchType.STRATEGIC] if resource is TEMPLATES else []
                kind = dice.random.choice(kinds) if step else PatchType.APPLY
                manager, force = dice.random.choice(["alice", "bob", "carol"]), dice.chance(0.6)
                if kind is PatchType.APPLY:
                    body |= {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "sample"}}
                force = force and kind is PatchType.APPLY
                own, theirs = await asyncio.gather(
                    *(outcome(api, resource, body, kind, manager, force) for api in both)
                )
                assert own == theirs, json.dumps([step, kind, manager, force, body, own, theirs])


async def defined(api):
    """Wait until the custom kind is served."""
    with contextlib.suppress(AlreadyExists):
        await api.create(DEFINITIONS, CRD)

    async def served():
        await api.list(SAMPLES, namespace="default")
        return True

    await eventually(served, timeout=30)
