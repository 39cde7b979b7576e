"""What people do with kubectl, on the embedded control plane and on the real one, with the same assertions."""

from __future__ import annotations

import json
import re

import pytest

CONFIG_MAP = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
  labels: {app: web}
data:
  colour: red
"""

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 0
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "web:1"}]
"""

POD = """
apiVersion: v1
kind: Pod
metadata: {name: p, labels: {app: p}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: c
      image: image:1
      volumeMounts: [{name: tls, mountPath: /tls}]
  volumes: [{name: tls, secret: {secretName: late}}]
"""

CRD = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: gadgets.kubectl.example.com}
spec:
  group: kubectl.example.com
  scope: Namespaced
  names: {kind: Gadget, plural: gadgets, singular: gadget, shortNames: [gdg], categories: [all]}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}, scale: {specReplicasPath: .spec.replicas, statusReplicasPath: .status.replicas}}
      additionalPrinterColumns:
        - {name: Size, type: integer, jsonPath: .spec.size}
        - {name: Age, type: date, jsonPath: .metadata.creationTimestamp}
      schema:
        openAPIV3Schema:
          type: object
          description: A thing that people want.
          properties:
            spec:
              type: object
              description: What is wanted.
              properties:
                size: {type: integer, minimum: 1, description: How big it is.}
                replicas: {type: integer, default: 1}
            status:
              type: object
              properties: {replicas: {type: integer}}
"""


def table(text):
    """Split what `kubectl get` prints into rows of cells."""
    return [re.split(r"\s{2,}", line.strip()) for line in text.splitlines()]


def test_version_reports_the_server(kubectl):
    reported = json.loads(kubectl("version", "-o", "json"))
    assert reported["serverVersion"]["minor"] == "36"


def test_api_resources_and_api_versions(kubectl):
    rows = {tuple(row) for row in table(kubectl("api-resources", "--namespaced=true"))}
    assert ("configmaps", "cm", "v1", "true", "ConfigMap") in rows
    assert ("deployments", "deploy", "apps/v1", "true", "Deployment") in rows
    assert ("rolebindings", "rbac.authorization.k8s.io/v1", "true", "RoleBinding") in rows
    names = kubectl("api-resources", "--namespaced=false", "-o", "name").split()
    assert {"namespaces", "nodes", "customresourcedefinitions.apiextensions.k8s.io"} <= set(names)
    assert {"v1", "apps/v1", "batch/v1"} <= set(kubectl("api-versions").split())


def test_apply_creates_changes_and_leaves_alone(kubectl):
    assert kubectl("apply", "-f", "-", stdin=CONFIG_MAP) == "configmap/settings created\n"
    assert kubectl("apply", "-f", "-", stdin=CONFIG_MAP) == "configmap/settings unchanged\n"
    assert kubectl("apply", "-f", "-", stdin=CONFIG_MAP.replace("red", "green")) == "configmap/settings configured\n"
    assert kubectl("get", "cm", "settings", "-o", "jsonpath={.data.colour}") == "green"


@pytest.mark.parametrize("verb", ["apply", "create"])
def test_a_kind_that_is_not_served_is_named(kubectl, verb):
    reported = kubectl.fails(
        verb, "-f", "-", stdin="{apiVersion: kubectl.example.com/v1, kind: Gadgit, metadata: {name: a}}"
    )
    assert 'no matches for kind "Gadgit" in version "kubectl.example.com/v1"' in reported
    reported = kubectl.fails(verb, "-f", "-", stdin="{kind: ConfigMap, metadata: {name: a}}")
    assert "apiVersion not set" in reported


def test_apply_removes_what_is_no_longer_in_the_file(kubectl):
    kubectl("apply", "-f", "-", stdin=CONFIG_MAP + "  size: big\n")
    kubectl("apply", "-f", "-", stdin=CONFIG_MAP)
    assert json.loads(kubectl("get", "cm", "settings", "-o", "jsonpath={.data}")) == {"colour": "red"}


def test_apply_merges_the_lists_of_a_deployment(kubectl):
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    kubectl("set", "env", "deployment/web", "MODE=test")
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("web:1", "web:2"))
    [container] = json.loads(kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.template.spec.containers}"))
    assert (container["image"], container["env"]) == ("web:2", [{"name": "MODE", "value": "test"}])


def test_apply_on_the_server_side(kubectl):
    first = ("apply", "--server-side", "--field-manager=one", "-f", "-")
    assert kubectl(*first, stdin=CONFIG_MAP) == "configmap/settings serverside-applied\n"
    second = ("apply", "--server-side", "--field-manager=two", "-f", "-")
    reported = kubectl.fails(*second, stdin=CONFIG_MAP.replace("red", "green"))
    assert 'Apply failed with 1 conflict: conflict with "one": .data.colour' in reported
    assert "--force-conflicts" in reported
    kubectl(*second, "--force-conflicts", stdin=CONFIG_MAP.replace("red", "green"))
    assert kubectl("get", "cm", "settings", "-o", "jsonpath={.data.colour}") == "green"


def test_apply_takes_over_from_the_client_side(kubectl):
    kubectl("apply", "-f", "-", stdin=CONFIG_MAP)
    kubectl("apply", "--server-side", "-f", "-", stdin=CONFIG_MAP.replace("colour: red", "size: big"))
    assert json.loads(kubectl("get", "cm", "settings", "-o", "jsonpath={.data}")) == {"size": "big"}


def test_diff_shows_what_apply_would_change(kubectl):
    kubectl("apply", "-f", "-", stdin=CONFIG_MAP)
    done = kubectl.run("diff", "-f", "-", stdin=CONFIG_MAP.replace("red", "green"))
    assert done.returncode == 1, done.stderr
    assert "-  colour: red" in done.stdout
    assert "+  colour: green" in done.stdout
    assert kubectl("diff", "-f", "-", stdin=CONFIG_MAP) == ""


def test_create_makes_the_usual_things(kubectl):
    assert kubectl("create", "configmap", "a", "--from-literal=k=v") == "configmap/a created\n"
    assert kubectl("create", "secret", "generic", "s", "--from-literal=k=v") == "secret/s created\n"
    assert kubectl("create", "serviceaccount", "robot") == "serviceaccount/robot created\n"
    assert kubectl("create", "deployment", "d", "--image=i", "--replicas=0") == "deployment.apps/d created\n"
    assert kubectl("create", "role", "r", "--verb=get", "--resource=pods") == (
        "role.rbac.authorization.k8s.io/r created\n"
    )
    assert kubectl.fails("create", "configmap", "a") == (
        'error: failed to create configmap: configmaps "a" already exists\n'
    )


def test_create_rejects_what_the_schema_rejects(kubectl):
    reported = kubectl.fails("apply", "-f", "-", stdin=CONFIG_MAP.replace("\ndata:", "\ndate:"))
    assert 'strict decoding error: unknown field "date"' in reported
    reported = kubectl.fails("create", "-f", "-", stdin=CONFIG_MAP.replace("settings", "Not_A_Name"))
    assert "a lowercase RFC 1123 subdomain must consist of" in reported


def test_get_prints_tables(kubectl):
    kubectl("apply", "-f", "-", stdin=CONFIG_MAP)
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    header, row = table(kubectl("get", "cm", "settings"))
    assert (header, row[:2]) == (["NAME", "DATA", "AGE"], ["settings", "1"])
    header, row = table(kubectl("get", "deploy", "-o", "wide"))
    assert header == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE", "CONTAINERS", "IMAGES", "SELECTOR"]
    assert row[:4] == ["web", "0/0", "0", "0"]
    assert row[5:] == ["web", "web:1", "app=web"]
    assert kubectl.run("get", "secrets").stderr.startswith("No resources found in test-")
    assert kubectl.fails("get", "cm", "nothing") == 'Error from server (NotFound): configmaps "nothing" not found\n'
    assert 'the server doesn\'t have a resource type "nothing"' in kubectl.fails("get", "nothing")


def test_get_selects_by_label_field_and_namespace(kubectl, namespace):
    kubectl("apply", "-f", "-", stdin=CONFIG_MAP)
    kubectl("create", "configmap", "other")
    assert kubectl("get", "cm", "-l", "app=web", "-o", "name") == "configmap/settings\n"
    assert kubectl("get", "cm", "--field-selector=metadata.name=other", "-o", "name") == "configmap/other\n"
    rows = table(kubectl("get", "cm", "-A", "-l", "app in (web)", "--no-headers"))
    assert [row[:2] for row in rows if row[0] == namespace] == [[namespace, "settings"]]
    header, row = table(kubectl("get", "cm", "-l", "app", "-L", "app", "--show-labels"))
    assert header == ["NAME", "DATA", "AGE", "APP", "LABELS"]
    assert (row[0], row[3], row[4]) == ("settings", "web", "app=web")


def test_get_prints_yaml_json_jsonpath_and_columns(kubectl, namespace):
    kubectl("apply", "-f", "-", stdin=CONFIG_MAP)
    text = kubectl("get", "cm", "settings", "-o", "yaml")
    assert text.startswith("apiVersion: v1\ndata:\n  colour: red\nkind: ConfigMap\nmetadata:\n  annotations:\n")
    assert f"  namespace: {namespace}\n" in text
    assert "managedFields" not in text
    assert "managedFields" in kubectl("get", "cm", "settings", "-o", "yaml", "--show-managed-fields")
    assert json.loads(kubectl("get", "cm", "-o", "json"))["kind"] == "List"
    assert kubectl("get", "cm", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.name}") == "settings"
    columns = kubectl("get", "cm", "settings", "-o", "custom-columns=N:.metadata.name,C:.data.colour")
    assert table(columns) == [["N", "C"], ["settings", "red"]]


def test_get_all_finds_the_category(kubectl):
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert "deployment.apps/web" in kubectl("get", "all", "-o", "name").split()


def test_get_in_chunks_finds_everything(kubectl):
    for index in range(3):
        kubectl("create", "secret", "generic", f"s{index}")
    assert kubectl("get", "secrets", "--chunk-size=1", "-o", "name").split() == [f"secret/s{i}" for i in range(3)]


def test_get_watches(kubectl):
    kubectl("create", "configmap", "a")
    watch = kubectl.start("get", "cm", "a", "-w", "-o", "jsonpath={.data.k}{'.'}")
    try:
        assert watch.stdout.read(1) == "."
        kubectl("patch", "cm", "a", "-p", '{"data": {"k": "v"}}')
        assert watch.stdout.read(2) == "v."
    finally:
        watch.terminate()
        watch.communicate()


def test_get_watches_tables(kubectl):
    kubectl("create", "configmap", "a")
    watch = kubectl.start("get", "cm", "a", "--watch")
    try:
        assert table(watch.stdout.readline()) == [["NAME", "DATA", "AGE"]]
        assert table(watch.stdout.readline())[0][:2] == ["a", "0"]
        kubectl("patch", "cm", "a", "-p", '{"data": {"k": "v"}}')
        assert table(watch.stdout.readline())[0][:2] == ["a", "1"]
    finally:
        watch.terminate()
        watch.communicate()


def test_get_raw_and_cluster_info(kubectl):
    assert kubectl("get", "--raw", "/readyz") == "ok"
    assert "is running at" in kubectl("cluster-info")


def test_label_and_annotate(kubectl):
    kubectl("create", "configmap", "a")
    assert kubectl("label", "cm", "a", "tier=web") == "configmap/a labeled\n"
    assert "already has a value (web), and --overwrite is false" in kubectl.fails("label", "cm", "a", "tier=db")
    kubectl("label", "cm", "a", "tier=db", "--overwrite")
    assert kubectl("get", "cm", "a", "-o", "jsonpath={.metadata.labels.tier}") == "db"
    assert kubectl("label", "cm", "a", "tier-") == "configmap/a unlabeled\n"
    assert kubectl("annotate", "cm", "a", "note=hello") == "configmap/a annotated\n"
    assert kubectl("get", "cm", "a", "-o", "jsonpath={.metadata.annotations.note}") == "hello"


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("strategic", '{"data": {"colour": "green"}}'),
        ("merge", '{"data": {"colour": "green"}}'),
        ("json", '[{"op": "replace", "path": "/data/colour", "value": "green"}]'),
    ],
)
def test_patch_in_three_ways(kubectl, kind, patch):
    kubectl("apply", "-f", "-", stdin=CONFIG_MAP)
    assert kubectl("patch", "cm", "settings", f"--type={kind}", "-p", patch) == "configmap/settings patched\n"
    assert kubectl("get", "cm", "settings", "-o", "jsonpath={.data.colour}") == "green"
    assert (
        kubectl("patch", "cm", "settings", f"--type={kind}", "-p", patch) == "configmap/settings patched (no change)\n"
    )


def test_patch_of_the_status(kubectl):
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    kubectl("patch", "deploy", "web", "--subresource=status", "--type=merge", "-p", '{"status": {"collisionCount": 3}}')
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.status.collisionCount}") == "3"


def test_edit_opens_an_editor(kubectl):
    kubectl("apply", "-f", "-", stdin=CONFIG_MAP)
    edited = kubectl("edit", "cm", "settings", KUBE_EDITOR="sed -i s/red/blue/")
    assert edited == "configmap/settings edited\n"
    assert kubectl("get", "cm", "settings", "-o", "jsonpath={.data.colour}") == "blue"


def test_replace_and_replace_by_force(kubectl):
    kubectl("create", "-f", "-", stdin=CONFIG_MAP)
    assert kubectl("replace", "-f", "-", stdin=CONFIG_MAP.replace("red", "green")) == "configmap/settings replaced\n"
    kubectl("replace", "--force", "-f", "-", stdin=CONFIG_MAP)
    assert kubectl("get", "cm", "settings", "-o", "jsonpath={.data.colour}") == "red"


def test_scale_a_deployment(kubectl):
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT.replace("replicas: 0", "replicas: 0\n  paused: true"))
    assert kubectl("scale", "deploy", "web", "--replicas=2") == "deployment.apps/web scaled\n"
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas}") == "2"
    reported = kubectl.fails("scale", "deploy", "web", "--replicas=3", "--current-replicas=9")
    assert "Expected replicas to be 9, was 2" in reported


def test_delete_by_name_file_and_label(kubectl, namespace):
    kubectl("apply", "-f", "-", stdin=CONFIG_MAP)
    assert kubectl("delete", "cm", "settings") == f'configmap "settings" deleted from {namespace} namespace\n'
    kubectl("apply", "-f", "-", stdin=CONFIG_MAP)
    kubectl("delete", "-f", "-", stdin=CONFIG_MAP)
    kubectl("apply", "-f", "-", stdin=CONFIG_MAP)
    kubectl("delete", "cm", "-l", "app=web")
    assert kubectl("get", "cm", "-l", "app=web", "-o", "name") == ""
    assert kubectl.fails("delete", "cm", "settings") == (
        'Error from server (NotFound): configmaps "settings" not found\n'
    )
    assert kubectl("delete", "cm", "settings", "--ignore-not-found") == ""


def test_delete_waits_for_finalizers(kubectl):
    kubectl("create", "configmap", "a")
    kubectl("patch", "cm", "a", "-p", '{"metadata": {"finalizers": ["example.com/wait"]}}')
    deletion = kubectl.start("delete", "cm", "a")
    try:
        kubectl("wait", "--for=jsonpath={.metadata.deletionTimestamp}", "cm/a", "--timeout=60s")
        assert deletion.poll() is None
        kubectl("patch", "cm", "a", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
        assert deletion.wait(timeout=120) == 0
    finally:
        deletion.kill()
        deletion.communicate()


def test_wait_for_a_field_a_deletion_and_in_vain(kubectl):
    kubectl("apply", "-f", "-", stdin=CONFIG_MAP)
    assert kubectl("wait", "--for=jsonpath={.data.colour}=red", "cm/settings", "--timeout=60s") == (
        "configmap/settings condition met\n"
    )
    reported = kubectl.fails("wait", "--for=jsonpath={.data.colour}=blue", "cm/settings", "--timeout=1s")
    assert "timed out waiting for the condition on configmaps/settings" in reported
    waiting = kubectl.start("wait", "--for=delete", "cm/settings", "--timeout=120s")
    try:
        kubectl("delete", "cm", "settings")
        assert waiting.wait(timeout=120) == 0
    finally:
        waiting.kill()
        waiting.communicate()


def test_explain_built_in_kinds(kubectl):
    reported = kubectl("explain", "deployment.spec.replicas")
    assert re.search(r"GROUP:\s+apps\nKIND:\s+Deployment\nVERSION:\s+v1", reported)
    assert "FIELD: replicas <integer>" in reported
    assert "Number of desired pods" in reported
    assert "podIP\t<string>" in kubectl("explain", "pod.status")


def test_auth_can_i_and_whoami(kubectl, user, namespace):
    assert kubectl("auth", "can-i", "delete", "pods") == "yes\n"
    assert kubectl.run("auth", "can-i", "get", "pods", "--as", user.name).stdout == "no\n"
    kubectl("create", "role", "r", "--verb=get,list", "--resource=pods")
    kubectl("create", "rolebinding", "b", "--role=r", f"--user={user.name}")
    assert kubectl.until("auth", "can-i", "get", "pods", "--as", user.name) == "yes\n"
    listed = table(kubectl("auth", "can-i", "--list", "--as", user.name))
    assert ["pods", "[]", "[]", "[get list]"] in listed
    assert ["Username", "admin"] in table(kubectl("auth", "whoami"))
    reported = kubectl.fails("get", "secrets", "--as", user.name)
    assert reported == (
        f'Error from server (Forbidden): secrets is forbidden: User "{user.name}" cannot list resource "secrets" in API '
        f'group "" in the namespace "{namespace}"\n'
    )


def test_a_custom_resource_from_definition_to_deletion(kubectl, namespace):
    created = kubectl("apply", "-f", "-", stdin=CRD)
    assert created == "customresourcedefinition.apiextensions.k8s.io/gadgets.kubectl.example.com created\n"
    try:
        kubectl("wait", "--for=condition=Established", "crd/gadgets.kubectl.example.com", "--timeout=120s")
        gadget = "apiVersion: kubectl.example.com/v1\nkind: Gadget\nmetadata: {name: g}\nspec: {size: 3}\n"
        assert kubectl.until("apply", "-f", "-", stdin=gadget) == "gadget.kubectl.example.com/g created\n"
        header, row = table(kubectl("get", "gdg"))
        assert (header, row[:2]) == (["NAME", "SIZE", "AGE"], ["g", "3"])
        assert kubectl("get", "gadget", "g", "-o", "jsonpath={.spec}") == '{"replicas":1,"size":3}'
        assert "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1" in kubectl.fails(
            "apply", "-f", "-", stdin=gadget.replace("3", "0")
        )
        assert 'unknown field "spec.colour"' in kubectl.fails(
            "apply", "-f", "-", stdin=gadget.replace("size: 3", "size: 3, colour: red")
        )
        assert kubectl("scale", "gadget", "g", "--replicas=4") == "gadget.kubectl.example.com/g scaled\n"
        assert "gadget.kubectl.example.com/g" in kubectl("get", "all", "-o", "name")
        reported = kubectl.until("explain", "gadget.spec")
        assert "What is wanted." in reported
        assert re.search(r"size\t<integer>\n\s+How big it is\.", reported)
        described = kubectl("describe", "gadget", "g")
        assert re.search(r"Spec:\n\s+Replicas:\s+4\n\s+Size:\s+3", described)
        kubectl("delete", "gadget", "g")
    finally:
        kubectl("delete", "crd", "gadgets.kubectl.example.com", "--ignore-not-found")


def test_describe_a_pod_that_waits_and_its_events(kubectl, running_nodes):
    kubectl("apply", "-f", "-", stdin=POD)
    kubectl(
        "wait",
        "pod/p",
        "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=ContainerCreating",
        "--timeout=60s",
    )
    reported = until(lambda: kubectl("describe", "pod", "p"), "FailedMount")
    assert re.search(r"Name:\s+p\n", reported)
    assert re.search(r"Status:\s+Pending", reported)
    assert re.search(r"State:\s+Waiting\n\s+Reason:\s+ContainerCreating", reported)
    assert re.search(r"Normal\s+Scheduled\s+\S+\s+\S+\s+Successfully assigned \S+/p to node-1", reported)
    assert re.search(
        r'Warning\s+FailedMount\s+.*kubelet\s+MountVolume.SetUp failed for volume "tls" : secret "late" not found',
        reported,
    )
    rows = table(kubectl("get", "events", "--field-selector=reason=FailedMount"))
    assert rows[0] == ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert rows[1][1:4] == ["Warning", "FailedMount", "pod/p"]
    assert "FailedMount" in kubectl("events", "--for", "pod/p")
    kubectl("create", "secret", "generic", "late")
    assert kubectl("wait", "pod/p", "--for=condition=Ready", "--timeout=120s") == "pod/p condition met\n"
    header, row = table(kubectl("get", "pod", "p"))
    assert (header, row[:4]) == (["NAME", "READY", "STATUS", "RESTARTS", "AGE"], ["p", "1/1", "Running", "0"])
    assert re.search(r"Status:\s+Running", kubectl("describe", "pod", "p"))
    kubectl("delete", "pod", "p")
    assert kubectl.fails("get", "pod", "p") == 'Error from server (NotFound): pods "p" not found\n'


def until(look, word, *, times=100):
    """Look again, as quickly as kubectl starts, until the word is there."""
    for _ in range(times):
        reported = look()
        if word in reported:
            return reported
    raise AssertionError(f"{word} never appeared in:\n{reported}")


def test_run_makes_a_pod(kubectl, running_nodes):
    assert kubectl("run", "once", "--image=i") == "pod/once created\n"
    kubectl("wait", "pod/once", "--for=condition=Ready", "--timeout=120s")
    kubectl("delete", "pod", "once", "--now")


def test_namespaces_come_and_go(kubectl, namespace):
    name = f"{namespace}-b"
    assert kubectl("create", "namespace", name) == f"namespace/{name} created\n"
    header, row = table(kubectl("get", "ns", name))
    assert (header, row[:2]) == (["NAME", "STATUS", "AGE"], [name, "Active"])
    assert re.search(r"Status:\s+Active", kubectl("describe", "ns", name))
    assert kubectl("delete", "ns", name, "--timeout=180s") == f'namespace "{name}" deleted\n'
    assert kubectl.fails("get", "ns", name) == f'Error from server (NotFound): namespaces "{name}" not found\n'


def test_describe_other_kinds(kubectl):
    kubectl("apply", "-f", "-", stdin=CONFIG_MAP)
    kubectl("create", "secret", "generic", "s", "--from-literal=k=value")
    assert re.search(r"Data\n====\ncolour:\n----\nred", kubectl("describe", "cm", "settings"))
    assert re.search(r"Data\n====\nk:\s+5 bytes", kubectl("describe", "secret", "s"))
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert re.search(r"Replicas:\s+0 desired", kubectl("describe", "deploy", "web"))


def test_dry_run_on_the_server(kubectl):
    assert kubectl("apply", "--dry-run=server", "-f", "-", stdin=CONFIG_MAP) == (
        "configmap/settings created (server dry run)\n"
    )
    assert kubectl.fails("get", "cm", "settings") == 'Error from server (NotFound): configmaps "settings" not found\n'


def test_create_a_token_for_a_service_account(kubectl):
    kubectl("create", "serviceaccount", "robot")
    assert kubectl("create", "token", "robot").count(".") == 2


def test_rollout_pauses_and_resumes(kubectl):
    kubectl("apply", "-f", "-", stdin=DEPLOYMENT)
    assert kubectl("rollout", "pause", "deploy/web") == "deployment.apps/web paused\n"
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.paused}") == "true"
    assert kubectl("rollout", "resume", "deploy/web") == "deployment.apps/web resumed\n"
    assert kubectl("rollout", "restart", "deploy/web") == "deployment.apps/web restarted\n"
    annotations = kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.template.metadata.annotations}")
    assert "kubectl.kubernetes.io/restartedAt" in annotations
