"""Each kind with a pod template is evaluated as its Pods are: containers, init containers and image volumes."""

from __future__ import annotations

from typing import Any

import pytest
from scenarios.attestation.team import image, pod

from operatorkit.names import ApiResource
from operatorkit.testing.running import install_stand_ins
from operators.attestation.external import PetSet

LABELS = {"app": "web"}
SELECTOR = {"matchLabels": LABELS}


def template(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"labels": LABELS}, "spec": spec}


def cron(found: dict[str, Any]) -> dict[str, Any]:
    return {"schedule": "0 0 1 1 *", "suspend": True, "jobTemplate": {"spec": {"template": found}}}


KINDS: dict[str, tuple[str, str, Any]] = {
    "Deployment": ("apps/v1", "deployments", lambda t: {"replicas": 0, "selector": SELECTOR, "template": t}),
    "StatefulSet": (
        "apps/v1",
        "statefulsets",
        lambda t: {"replicas": 0, "serviceName": "web", "selector": SELECTOR, "template": t},
    ),
    "DaemonSet": ("apps/v1", "daemonsets", lambda t: {"selector": SELECTOR, "template": t}),
    "ReplicaSet": ("apps/v1", "replicasets", lambda t: {"replicas": 0, "selector": SELECTOR, "template": t}),
    "Job": ("batch/v1", "jobs", lambda t: {"suspend": True, "template": t}),
    "CronJob": ("batch/v1", "cronjobs", cron),
    "ReplicationController": (
        "v1",
        "replicationcontrollers",
        lambda t: {"replicas": 0, "selector": LABELS, "template": t},
    ),
    "PetSet": (
        "apps.operatorkit.dev/v1alpha1",
        "petsets",
        lambda t: {"replicas": 0, "serviceName": "web", "selector": SELECTOR, "template": t},
    ),
}


def workload(kind: str, **spec: Any) -> tuple[ApiResource, dict[str, Any]]:
    more = {"restartPolicy": "Never"} if kind in {"Job", "CronJob"} else {}
    api_version, plural, spec_of = KINDS.get(kind, ("v1", "podtemplates", None))
    group, _, version = api_version.rpartition("/")
    body = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "web"}}
    found = template(**spec, **more)
    body |= {"template": found} if spec_of is None else {"spec": spec_of(found)}
    return ApiResource(group, version, kind, plural, namespaced=True), body


def path(kind: str) -> str:
    return {"CronJob": "spec.jobTemplate.spec.template.spec", "PodTemplate": "template.spec"}.get(
        kind, "spec.template.spec"
    )


@pytest.mark.parametrize("kind", [*KINDS, "PodTemplate"])
async def test_a_workload_is_denied_for_each_of_its_images_and_admitted_when_all_are_attested(team, kind):
    if kind == "PetSet":
        await install_stand_ins([PetSet], team.cluster)
    good, bad = image(), image()
    await team.attest(good)
    containers, init = pod(good)["spec"]["containers"], [{"name": "i", "image": bad}]
    volume = {"name": "v", "image": {"reference": bad}}
    tries = {
        "containers[0].image": {"containers": pod(bad)["spec"]["containers"]},
        "initContainers[0].image": {"containers": containers, "initContainers": init},
        "volumes[0].image.reference": {"containers": containers, "volumes": [volume]},
    }
    for field, spec in tries.items():
        resource, body = workload(kind, **spec)
        assert f"({path(kind)}.{field})" in await team.denied(body, resource)
    resource, body = workload(kind, containers=containers)
    await team.create(body, resource)
