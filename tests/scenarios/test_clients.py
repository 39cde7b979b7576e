"""Clients that others wrote: the official Python client (sync, aio, dynamic), kopf's own operator loop, and curl."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from operatorkit.cluster import PatchType
from operatorkit.names import ApiResource
from operatorkit.testing import eventually

CONFIG_MAPS = ApiResource("", "v1", "ConfigMap", "configmaps", namespaced=True)
CRDS = ApiResource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
EVENTS = ApiResource("", "v1", "Event", "events", namespaced=True)


def widget_crd(group):
    schema = {
        "type": "object",
        "properties": {
            "spec": {"type": "object", "properties": {"size": {"type": "integer", "default": 1}}},
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": schema},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [version],
        },
    }


@pytest_asyncio.fixture
async def widgets(cluster) -> AsyncIterator[ApiResource]:
    """A custom kind of this test's own, established."""
    resource = ApiResource(f"{cluster.namespace}.example.io", "v1", "Widget", "widgets", namespaced=True)
    await cluster.create(CRDS, widget_crd(resource.group))

    async def served():
        await cluster.list(resource, namespace=cluster.namespace, limit=1)
        return await cluster.resolve(resource.group, "Widget") == resource

    await eventually(served)
    yield resource
    await cluster.delete(CRDS, resource.qualified)


def widget(resource, name, **spec):
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}, "spec": spec}


def test_the_official_client_creates_reads_patches_lists_watches_and_deletes(kubeconfig, namespace):
    import kubernetes

    with kubernetes.config.new_client_from_config(str(kubeconfig)) as client:
        core = kubernetes.client.CoreV1Api(client)
        assert kubernetes.client.VersionApi(client).get_code().git_version.startswith("v1.36")
        body = kubernetes.client.V1ConfigMap(metadata=kubernetes.client.V1ObjectMeta(name="a"), data={"k": "1"})
        made = core.create_namespaced_config_map(namespace, body)
        assert made.metadata.uid
        assert made.metadata.creation_timestamp.tzinfo is not None
        with pytest.raises(kubernetes.client.ApiException) as exists:
            core.create_namespaced_config_map(namespace, body)
        assert (exists.value.status, json.loads(exists.value.body)["reason"]) == (409, "AlreadyExists")

        patched = core.patch_namespaced_config_map("a", namespace, {"data": {"k": "2"}})
        assert patched.data == {"k": "2"}
        made.data = {"k": "3"}
        with pytest.raises(kubernetes.client.ApiException, match="the object has been modified"):
            core.replace_namespaced_config_map("a", namespace, made)

        core.create_namespaced_config_map(namespace, {"metadata": {"name": "b", "labels": {"x": "y"}}})
        assert [
            each.metadata.name for each in core.list_namespaced_config_map(namespace, label_selector="x=y").items
        ] == ["b"]
        assert len(core.list_namespaced_config_map(namespace, limit=1).items) == 1

        listed = core.list_namespaced_config_map(namespace)
        core.delete_namespaced_config_map("b", namespace)
        watch = kubernetes.watch.Watch()
        for event in watch.stream(
            core.list_namespaced_config_map,
            namespace,
            resource_version=listed.metadata.resource_version,
            timeout_seconds=10,
        ):
            assert (event["type"], event["object"].metadata.name) == ("DELETED", "b")
            watch.stop()
        with pytest.raises(kubernetes.client.ApiException) as missing:
            core.read_namespaced_config_map("b", namespace)
        assert missing.value.status == 404


def test_the_official_client_reads_what_it_wrote_for_larger_kinds(kubeconfig, namespace):
    import kubernetes

    deployment = {
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "nginx", "ports": [{"containerPort": 80}]}]},
            },
        },
    }
    with kubernetes.config.new_client_from_config(str(kubeconfig)) as client:
        apps = kubernetes.client.AppsV1Api(client)
        made = apps.create_namespaced_deployment(namespace, deployment)
        assert made.spec.strategy.type == "RollingUpdate"
        assert made.spec.template.spec.containers[0].ports[0].protocol == "TCP"
        scaled = apps.patch_namespaced_deployment("web", namespace, {"spec": {"replicas": 3}})
        assert scaled.spec.replicas == 3
        # Not by one: the deployment controller annotates the object meanwhile, which counts, too.
        assert scaled.metadata.generation > made.metadata.generation
        apps.delete_namespaced_deployment("web", namespace)


def test_the_dynamic_client_finds_kinds_by_discovery_and_applies(kubeconfig, namespace):
    import kubernetes
    from kubernetes.dynamic import DynamicClient

    with kubernetes.config.new_client_from_config(str(kubeconfig)) as client:
        dynamic = DynamicClient(client)
        secrets = dynamic.resources.get(api_version="v1", kind="Secret")
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"k": "v"}}
        applied = secrets.server_side_apply(body, name="s", namespace=namespace, field_manager="me")
        assert base64.b64decode(applied.data.k) == b"v"
        assert [each.manager for each in applied.metadata.managedFields] == ["me"]
        assert secrets.get(name="s", namespace=namespace).metadata.uid == applied.metadata.uid
        secrets.delete(name="s", namespace=namespace)


async def test_the_official_client_serves_custom_objects(kubeconfig, namespace, widgets):
    import kubernetes

    def use() -> None:
        with kubernetes.config.new_client_from_config(str(kubeconfig)) as client:
            custom = kubernetes.client.CustomObjectsApi(client)
            where = (widgets.group, "v1", namespace, "widgets")
            made = custom.create_namespaced_custom_object(*where, widget(widgets, "w"))
            assert made["spec"] == {"size": 1}
            changed = custom.patch_namespaced_custom_object_status(*where, "w", {"status": {"seen": True}})
            assert (changed["status"], changed["metadata"]["generation"]) == ({"seen": True}, 1)
            assert [each["metadata"]["name"] for each in custom.list_namespaced_custom_object(*where)["items"]] == ["w"]
            custom.delete_namespaced_custom_object(*where, "w")

    await asyncio.to_thread(use)


async def test_the_official_aio_client_creates_and_watches(kubeconfig, namespace):
    from kubernetes.aio import client, config, watch

    configuration = client.Configuration()
    await config.load_kube_config(str(kubeconfig), client_configuration=configuration)
    async with client.ApiClient(configuration) as api:
        core = client.CoreV1Api(api)
        listed = await core.list_namespaced_config_map(namespace)
        await core.create_namespaced_config_map(namespace, {"metadata": {"name": "a"}, "data": {"k": "v"}})
        async with watch.Watch() as stream:
            async for event in stream.stream(
                core.list_namespaced_config_map,
                namespace,
                resource_version=listed.metadata.resource_version,
                timeout_seconds=10,
            ):
                if event["object"].metadata.name == "a":
                    assert (event["type"], event["object"].data) == ("ADDED", {"k": "v"})
                    break
        with pytest.raises(client.ApiException) as missing:
            await core.read_namespaced_config_map("b", namespace)
        assert missing.value.status == 404


KOPF_OPERATOR = """
import kopf

@kopf.on.startup()
def quicken(settings, **_):
    settings.posting.level = 20
    settings.persistence.finalizer = "example.io/kopf"

@kopf.on.create("GROUP", "v1", "widgets")
def created(spec, body, **_):
    kopf.info(body, reason="Welcome", message="a widget of size %s" % spec["size"])
    return {"size": spec["size"]}

@kopf.on.update("GROUP", "v1", "widgets", field="spec.size")
async def resized(old, new, patch, **_):
    patch.status["resized"] = [old, new]

@kopf.on.delete("GROUP", "v1", "widgets")
def deleted(patch, name, namespace, memo, **_):
    if "blocked" in name:
        raise kopf.TemporaryError("not yet", delay=0.2)

@kopf.timer("GROUP", "v1", "widgets", interval=0.2)
def ticked(patch, status, **_):
    patch.status["ticks"] = status.get("ticks", 0) + 1
"""


class Process:
    """A program that runs beside the test, with its output."""

    def __init__(self, arguments, **environment):
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("COV", "PYTEST"))}
        self.process = subprocess.Popen(
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**inherited, **environment},
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        assert self.process.stdout is not None
        with self.process.stdout as output:
            self.lines.extend(iter(output.readline, ""))

    @property
    def output(self):
        return "".join(self.lines)

    def stop(self, number=signal.SIGTERM, within=60):
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._reader.join()


@pytest.fixture
def kopf_operator(tmp_path, kubeconfig, namespace, widgets):
    source = tmp_path / "handlers.py"
    source.write_text(textwrap.dedent(KOPF_OPERATOR).replace("GROUP", widgets.group))
    process = Process(
        [sys.executable, "-m", "kopf", "run", "--standalone", "--namespace", namespace, str(source)],
        KUBECONFIG=str(kubeconfig),
    )
    yield process
    if process.process.poll() is None:
        process.stop(signal.SIGKILL)


async def test_an_operator_of_kopf_handles_creation_change_timers_and_deletion(cluster, kopf_operator, widgets):
    namespace = cluster.namespace
    await cluster.create(widgets, widget(widgets, "w", size=3), namespace=namespace)

    async def status(name="w"):
        return (await cluster.get(widgets, name, namespace=namespace)).get("status") or {}

    async def is_created():
        assert kopf_operator.process.poll() is None, kopf_operator.output
        return (await status()).get("created") == {"size": 3}

    try:
        await eventually(is_created, timeout=60)
        held = await cluster.get(widgets, "w", namespace=namespace)
        assert held["metadata"]["finalizers"] == ["example.io/kopf"]
        assert "kopf.zalando.org/last-handled-configuration" in held["metadata"]["annotations"]

        await cluster.patch(widgets, "w", {"spec": {"size": 5}}, patch_type=PatchType.MERGE, namespace=namespace)

        async def is_resized():
            return (await status()).get("resized") == [3, 5]

        async def has_ticked():
            return (await status()).get("ticks", 0) >= 3

        await eventually(is_resized, timeout=60)
        await eventually(has_ticked, timeout=60)

        async def welcomed():
            events = await cluster.list(EVENTS, namespace=namespace, field_selector="reason=Welcome")
            return [each for each in events.items if each["involvedObject"]["name"] == "w"]

        (welcome,) = await eventually(welcomed)
        assert welcome["message"] == "a widget of size 3"

        await cluster.delete(widgets, "w", namespace=namespace)

        async def is_gone():
            return not (await cluster.list(widgets, namespace=namespace)).items

        await eventually(is_gone, timeout=60)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{kopf_operator.output}") from error
    assert await asyncio.to_thread(kopf_operator.stop) == 0, kopf_operator.output
    assert "Traceback" not in kopf_operator.output


@pytest.fixture
def curl(controlplane, tmp_path):
    """Run curl as the administrator; return what it printed."""
    program = shutil.which("curl")
    if program is None:
        pytest.skip("needs curl")
    content = yaml.safe_load(controlplane.write_kubeconfig(tmp_path / "config").read_text())
    server, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    options: list[str] = []
    for option, section, key in (
        ("--cacert", server, "certificate-authority-data"),
        ("--cert", user, "client-certificate-data"),
        ("--key", user, "client-key-data"),
    ):
        if key in section:
            path = tmp_path / key
            path.write_bytes(base64.b64decode(section[key]))
            options += [option, str(path)]
    if "token" in user:
        options += ["--header", f"Authorization: Bearer {user['token']}"]

    def run(path: str, *arguments: str, fails: bool = False) -> str:
        done = subprocess.run(
            [program, "--silent", "--show-error", *options, *arguments, server["server"].rstrip("/") + path],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert fails or done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_curl_reads_writes_and_watches(curl, namespace, tmp_path: Path):
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    body = tmp_path / "body.json"
    body.write_text(
        json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}})
    )
    assert curl("/readyz") == "ok"
    assert json.loads(curl("/version"))["gitVersion"].startswith("v1.36")

    pretty = curl(path, "--header", "Content-Type: application/json", "--data", f"@{body}")
    assert pretty.startswith('{\n  "'), "to curl the server answers indented, for people"
    made = json.loads(pretty)
    assert made["data"] == {"k": "v"}

    yaml_body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {k: w}\n"
    applied = curl(
        f"{path}/a?fieldManager=curl&force=true",
        "--request", "PATCH", "--header", "Content-Type: application/apply-patch+yaml", "--data-binary", yaml_body,
    )  # fmt: skip
    assert json.loads(applied)["data"] == {"k": "w"}
    assert yaml.safe_load(curl(f"{path}/a", "--header", "Accept: application/yaml"))["data"] == {"k": "w"}

    frames = curl(
        f"{path}?watch=1&resourceVersion={made['metadata']['resourceVersion']}&timeoutSeconds=3", "--no-buffer"
    )
    (frame,) = [json.loads(line) for line in frames.splitlines()]
    assert (frame["type"], frame["object"]["data"]) == ("MODIFIED", {"k": "w"})

    compressed = curl("/openapi/v2", "--compressed", "--dump-header", str(tmp_path / "headers"))
    assert json.loads(compressed)["swagger"] == "2.0"
    deleted = json.loads(curl(f"{path}/a", "--request", "DELETE"))
    assert (deleted["kind"], deleted["status"], deleted["details"]["name"]) == ("Status", "Success", "a")
    missing = json.loads(curl(f"{path}/a"))
    assert (missing["code"], missing["message"]) == (404, 'configmaps "a" not found')


def test_curl_without_credentials_may_read_health_and_version_only(curl, controlplane, namespace, tmp_path):
    certificate = tmp_path / "certificate-authority-data"
    anonymous = ["curl", "--silent", "--cacert", str(certificate), "--write-out", "\n%{http_code}"]

    def ask(path: str) -> tuple[str, str]:
        done = subprocess.run(
            [*anonymous, controlplane.url + path], capture_output=True, text=True, timeout=60, check=True
        )
        text, _, code = done.stdout.rpartition("\n")
        return code, text

    assert ask("/livez") == ("200", "ok")
    assert ask("/version")[0] == "200"
    code, text = ask(f"/api/v1/namespaces/{namespace}/secrets")
    assert code == "403"
    assert json.loads(text)["message"] == (
        'secrets is forbidden: User "system:anonymous" cannot list resource "secrets" in API group "" in the namespace'
        f' "{namespace}"'
    )
