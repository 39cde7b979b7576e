"""Which Secrets a Pod uses, and which Pods are told."""

from __future__ import annotations

from kubernetes.client.models import V1Pod

from operatorkit.resource import read
from operators.pki.pods import (
    MAX_PODS,
    controller_reference,
    interesting,
    need_changed,
    required_secrets,
    secrets_changed,
    secrets_of,
)


def pod(name: str = "web", phase: str = "Pending", *, owners=(), deleted: bool = False, **spec) -> V1Pod:
    metadata = {"name": name, "namespace": "team", "uid": f"uid-{name}", "ownerReferences": list(owners)}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    spec = {"containers": [{"name": "a", "image": "a"}], **spec}
    return read(
        V1Pod, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": phase}}
    )


def test_every_way_to_use_a_secret_is_found():
    def env(secret):
        return {"name": "V", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}

    def container(name, secret):
        return {
            "name": name,
            "image": name,
            "env": [{"name": "PLAIN", "value": "x"}, env(f"{secret}-env")],
            "envFrom": [{"secretRef": {"name": f"{secret}-from"}}, {"configMapRef": {"name": "no"}}],
        }

    found = secrets_of(
        pod(
            volumes=[
                {"name": "v", "secret": {"secretName": "mounted"}},
                {
                    "name": "p",
                    "projected": {"sources": [{"secret": {"name": "projected"}}, {"configMap": {"name": "no"}}]},
                },
                {"name": "e", "emptyDir": {}},
            ],
            containers=[container("a", "main")],
            initContainers=[container("b", "init")],
            ephemeralContainers=[container("c", "ephemeral")],
        )
    )
    assert found == {"mounted", "projected"} | {
        f"{which}-{how}" for which in ("main", "init", "ephemeral") for how in ("env", "from")
    }


def test_only_a_new_pod_or_other_secrets_matter():
    old = pod(volumes=[{"name": "v", "secret": {"secretName": "a"}}])
    assert secrets_changed(None, old)
    assert not secrets_changed(old, pod(phase="Running", volumes=[{"name": "v", "secret": {"secretName": "a"}}]))
    assert secrets_changed(old, pod(volumes=[{"name": "v", "secret": {"secretName": "b"}}]))


def test_that_a_pod_starts_matters_where_its_need_is_asked_for():
    volumes = [{"name": "v", "secret": {"secretName": "a"}}]
    old = pod(volumes=volumes)
    assert need_changed(None, old)
    assert need_changed(old, pod(phase="Running", volumes=volumes))
    assert not need_changed(old, pod(volumes=volumes))
    assert need_changed(old, pod(volumes=[{"name": "v", "secret": {"secretName": "b"}}]))


def test_optional_secrets_are_used_and_not_required():
    key = {"name": "env", "key": "k", "optional": True}
    found = pod(
        volumes=[
            {"name": "v", "secret": {"secretName": "mounted", "optional": True}},
            {"name": "w", "secret": {"secretName": "needed"}},
            {"name": "p", "projected": {"sources": [{"secret": {"name": "projected", "optional": True}}]}},
        ],
        containers=[
            {
                "name": "a",
                "image": "a",
                "env": [{"name": "V", "valueFrom": {"secretKeyRef": key}}],
                "envFrom": [{"secretRef": {"name": "from", "optional": True}}, {"secretRef": {"name": "needed-too"}}],
            }
        ],
    )
    assert secrets_of(found) == {"mounted", "needed", "projected", "env", "from", "needed-too"}
    assert required_secrets(found) == {"needed", "needed-too"}


def test_at_most_ten_pods_are_notified_and_those_that_wait_come_first():
    crowd = [pod(f"run-{n:02}", "Running") for n in range(12)] + [pod("zz-waits"), pod("ended", "Succeeded")]
    chosen = interesting([*crowd, pod("leaving", deleted=True)])
    assert len(chosen) == MAX_PODS
    assert chosen[0].metadata.name == "zz-waits"
    assert {one.metadata.name for one in chosen}.isdisjoint({"ended", "leaving"})


def test_the_controller_of_an_object_is_found_among_its_owners():
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "u"}
    assert controller_reference(pod(owners=[owner]).metadata) is None
    reference = controller_reference(pod(owners=[{**owner, "uid": "x"}, {**owner, "controller": True}]).metadata)
    assert reference is not None
    assert (reference.kind, reference.uid, reference.namespace) == ("ReplicaSet", "u", "team")
