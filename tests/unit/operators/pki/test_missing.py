"""Which Certificate's Secret a Pod perhaps means, by what the caches hold."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes.client.models import V1Pod, V1Secret

from operatorkit.names import ObjectKey
from operatorkit.resource import read
from operators.pki import Certificate
from operators.pki.missing import INDEX_NAMES, INDEX_WAITING, INDEX_WRITERS, MissingSecrets, marks
from operators.pki.pods import required_secrets, waits


class Caches:
    """A `Reader` of objects in memory; it counts what was read."""

    def __init__(self) -> None:
        self.objects: dict[tuple[type[Any], ObjectKey], Any] = {}
        self.read = 0

    def get(self, kind: type[Any], name: str, *, namespace: str | None = None) -> Any:
        self.read += kind is Certificate
        return self.objects.get((kind, ObjectKey(namespace or "", name)))

    def keys(self, kind: type[Any], *, index: tuple[str, str], namespace: str | None = None) -> list[ObjectKey]:
        del namespace
        found = [
            key for (known, key), obj in self.objects.items() if known is kind and index[1] in _values(obj, index[0])
        ]
        return sorted(found, key=lambda key: (key.namespace, key.name))

    def list(self, kind: type[Any], **how: Any) -> list[Any]:
        raise AssertionError("keys cost less")

    def memory(self, kind: Any) -> Any:
        raise AssertionError("the memory is what is tested")

    def add(self, obj: Any) -> Any:
        self.objects[type(obj), ObjectKey(obj.metadata.namespace, obj.metadata.name)] = obj
        return obj

    def remove(self, obj: Any) -> None:
        del self.objects[type(obj), ObjectKey(obj.metadata.namespace, obj.metadata.name)]


def _values(obj: Any, index: str) -> list[str]:
    if index == INDEX_WAITING:
        return [f"team/{name}" for name in required_secrets(obj)] if waits(obj) else []
    found = {INDEX_WRITERS: [obj.spec.secret_name], INDEX_NAMES: marks(obj.spec.secret_name)}
    return [f"team/{value}" for value in found[index]]


def pod(secret: str, *, optional: bool = False, phase: str = "Pending") -> V1Pod:
    volume = {"name": "v", "secret": {"secretName": secret, "optional": optional}}
    spec = {"containers": [{"name": "a", "image": "a"}], "volumes": [volume]}
    metadata = {"name": f"pod-{secret}", "namespace": "team"}
    return read(
        V1Pod, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": phase}}
    )


def secret(name: str) -> V1Secret:
    return read(V1Secret, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "team"}})


def certificate(name: str, secret_name: str | None = None) -> Certificate:
    spec = {"secretName": secret_name or f"{name}-tls", "issuerRef": {"name": "ca"}}
    obj = {"apiVersion": Certificate.api_version, "kind": "Certificate"}
    return Certificate.read({**obj, "metadata": {"name": name, "namespace": "team"}, "spec": spec})


def key(name: str) -> ObjectKey:
    return ObjectKey("team", name)


@pytest.fixture
def caches() -> Caches:
    return Caches()


def test_the_nearest_of_several_is_chosen_and_woken(caches):
    for name in ("web", "webshop", "database"):
        caches.add(certificate(name))
    missing = MissingSecrets()
    assert list(missing.pod_changed(caches.add(pod("wbe-tls")), caches)) == [key("web")]
    (one,) = missing.near(key("web"))
    assert (one.name, one.near, one.confirmed) == ("wbe-tls", "web-tls", False)
    assert missing.near(key("database")) == []


@pytest.mark.parametrize(
    "waiting",
    [pod("web-tls"), pod("wbe-tls", optional=True), pod("wbe-tls", phase="Running"), pod("there"), pod("password")],
    ids=["written", "optional", "running", "exists", "unlike any"],
)
def test_a_secret_that_is_not_missing_or_like_no_other_enqueues_nothing(caches, waiting):
    caches.add(certificate("web"))
    caches.add(secret("there"))
    missing = MissingSecrets()
    assert list(missing.pod_changed(caches.add(waiting), caches)) == []
    assert missing.near(key("web")) == []


def test_a_certificate_that_comes_nearer_takes_over_and_gives_back(caches):
    missing = MissingSecrets()
    caches.add(certificate("far", "wob-tls"))
    caches.add(waiting := pod("web-tsl"))
    assert list(missing.pod_changed(waiting, caches)) == [key("far")]
    nearer = caches.add(certificate("web", "web-tsk"))
    assert list(missing.certificate_changed(nearer, caches)) == [key("far"), key("web")]
    caches.remove(nearer)
    assert list(missing.certificate_changed(nearer, caches)) == [key("web"), key("far")]
    assert missing.near(key("web")) == []
    assert [one.name for one in missing.near(key("far"))] == ["web-tsl"]


@pytest.mark.parametrize("what", ["secret", "certificate", "pod"])
def test_the_end_enqueues_the_one_that_reported_it(caches, what):
    missing = MissingSecrets()
    caches.add(certificate("web"))
    waiting = caches.add(pod("web-tsl"))
    list(missing.pod_changed(waiting, caches))
    if what == "secret":
        caches.add(secret("web-tsl"))
        woken = missing.look(key("web-tsl"), caches)
    elif what == "certificate":
        woken = missing.certificate_changed(caches.add(certificate("other", "web-tsl")), caches)
    else:
        caches.remove(waiting)
        woken = missing.pod_changed(waiting, caches)
    assert list(woken) == [key("web")]
    assert missing.near(key("web")) == []


def test_a_secret_that_is_deleted_under_a_waiting_pod_is_missing(caches):
    missing = MissingSecrets()
    caches.add(certificate("web"))
    there = caches.add(secret("web-tsl"))
    assert list(missing.pod_changed(caches.add(pod("web-tsl")), caches)) == []
    caches.remove(there)
    assert list(missing.look(key("web-tsl"), caches)) == [key("web")]


@pytest.mark.parametrize("name", ["tenant-application-0250-tsl", "tenant-applicatoin-0250-tls", "nearly-xy0250-tls"])
def test_of_many_certificates_few_are_read_and_a_single_mistake_is_found_anyway(caches, name):
    for number in range(300):
        caches.add(certificate(f"tenant-application-{number:04}"))
    missing = MissingSecrets()
    woken = list(missing.pod_changed(caches.add(pod(name)), caches))
    assert caches.read <= 25
    assert woken == ([key("tenant-application-0250")] if name.startswith("tenant") else [])


def test_of_a_namespace_a_hundred_are_remembered_and_there_is_space_when_some_are_not_missing_any_more(caches):
    missing = MissingSecrets()
    caches.add(certificate("web"))
    pods = [caches.add(pod(f"web-t{number}")) for number in range(101)]
    for each in pods:
        list(missing.pod_changed(each, caches))
    assert len(missing.near(key("web"))) == 100
    caches.remove(pods[0])
    assert list(missing.pod_changed(pods[100], caches)) == [key("web")]
    assert "web-t100" in {one.name for one in missing.near(key("web"))}
