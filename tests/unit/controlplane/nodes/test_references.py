from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from operatorkit.controlplane.nodes.references import config_failure, mount_failures, references


def _pod(*, volumes: list[Any] | None = None, **container: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"volumes": volumes or [], "containers": [{"name": "app", "image": "web:1", **container}]},
    }


def _lookup(*held: tuple[str, str, str]) -> Callable[[str, str], dict[str, Any] | None]:
    """Hold (kind, name, keys)."""
    objects = {(kind, name): {"data": dict.fromkeys(keys.split(), "")} for kind, name, keys in held}
    return lambda kind, name: objects.get((kind, name))


SECRET = {"name": "tls", "secret": {"secretName": "web-tls"}}
CONFIG = {"name": "cfg", "configMap": {"name": "web"}}
BOTH = {
    "name": "all",
    "projected": {"sources": [{"secret": {"name": "web-tls"}}, {"configMap": {"name": "web"}}, {"downwardAPI": {}}]},
}


@pytest.mark.parametrize(
    ("volume", "held", "messages"),
    [
        (SECRET, [], ['MountVolume.SetUp failed for volume "tls" : secret "web-tls" not found']),
        (SECRET, [("Secret", "web-tls", "tls.crt")], []),
        (
            SECRET,
            [("ConfigMap", "web-tls", "tls.crt")],
            ['MountVolume.SetUp failed for volume "tls" : secret "web-tls" not found'],
        ),
        ({"name": "tls", "secret": {"secretName": "web-tls", "optional": True}}, [], []),
        (
            {"name": "tls", "secret": {"secretName": "web-tls", "items": [{"key": "ca.crt", "path": "ca"}]}},
            [("Secret", "web-tls", "tls.crt")],
            ['MountVolume.SetUp failed for volume "tls" : references non-existent secret key: ca.crt'],
        ),
        (CONFIG, [], ['MountVolume.SetUp failed for volume "cfg" : configmap "web" not found']),
        (
            {"name": "cfg", "configMap": {"name": "web", "items": [{"key": "x", "path": "x"}]}},
            [("ConfigMap", "web", "y")],
            ['MountVolume.SetUp failed for volume "cfg" : configmap references non-existent config key: x'],
        ),
        (
            BOTH,
            [],
            ['MountVolume.SetUp failed for volume "all" : [secret "web-tls" not found, configmap "web" not found]'],
        ),
        (BOTH, [("Secret", "web-tls", "")], ['MountVolume.SetUp failed for volume "all" : configmap "web" not found']),
        ({"name": "scratch", "emptyDir": {}}, [], []),
    ],
)
def test_a_volume_that_cannot_be_mounted_is_reported_as_the_kubelet_does(
    volume: dict[str, Any], held: list[tuple[str, str, str]], messages: list[str]
) -> None:
    assert mount_failures(_pod(volumes=[volume]), _lookup(*held)) == messages


SECRET_KEY = {"name": "X", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}}
CONFIG_KEY = {"name": "X", "valueFrom": {"configMapKeyRef": {"name": "db", "key": "host"}}}


@pytest.mark.parametrize(
    ("container", "held", "problem"),
    [
        ({"env": [SECRET_KEY]}, [], 'secret "db" not found'),
        ({"env": [SECRET_KEY]}, [("Secret", "db", "user")], "couldn't find key password in Secret shop/db"),
        ({"env": [SECRET_KEY]}, [("Secret", "db", "password")], None),
        ({"env": [CONFIG_KEY]}, [], 'configmap "db" not found'),
        ({"env": [CONFIG_KEY]}, [("ConfigMap", "db", "port")], "couldn't find key host in ConfigMap shop/db"),
        (
            {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "db", "key": "k", "optional": True}}}]},
            [],
            None,
        ),
        ({"envFrom": [{"secretRef": {"name": "db"}}]}, [], 'secret "db" not found'),
        ({"envFrom": [{"configMapRef": {"name": "db", "optional": True}}]}, [], None),
        ({"env": [{"name": "X", "value": "plain"}]}, [], None),
        ({"envFrom": [{"configMapRef": {"name": "first"}}], "env": [SECRET_KEY]}, [], 'configmap "first" not found'),
    ],
)
def test_an_environment_that_cannot_be_made_is_reported_as_the_kubelet_does(
    container: dict[str, Any], held: list[tuple[str, str, str]], problem: str | None
) -> None:
    pod = _pod(**container)

    assert config_failure(pod, pod["spec"]["containers"][0], _lookup(*held)) == problem


def test_everything_that_a_pod_refers_to_is_known_optional_or_not() -> None:
    pod = _pod(volumes=[SECRET, BOTH], env=[CONFIG_KEY], envFrom=[{"secretRef": {"name": "all", "optional": True}}])
    pod["spec"]["initContainers"] = [{"name": "init", "env": [SECRET_KEY]}]

    assert references(pod) == {
        ("Secret", "web-tls"),
        ("ConfigMap", "web"),
        ("ConfigMap", "db"),
        ("Secret", "all"),
        ("Secret", "db"),
    }
