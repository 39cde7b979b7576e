"""Helm takes the charts: it lints, renders, installs and removes them, and Kubernetes has nothing to warn of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from operatorkit.testing.backends import start
from operatorkit.testing.user import User
from operatorkit.webhooks.manifests import CONFIGURATIONS
from operators.pki import app

CHARTS = Path(__file__).resolve().parents[2] / "charts"
NAMES = ("pki-crds", "pki")
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@pytest.fixture(scope="module", params=["embedded", "real"])
def controlplane(request, binaries) -> Iterator[Any]:
    """A control plane for this module alone: the charts bring definitions that others install too."""
    with start(request.param, nodes=1) as plane:
        yield plane


@pytest.fixture(scope="module")
def admin(controlplane) -> User:
    return User.of(controlplane)


@pytest.fixture
def system(admin) -> str:
    """A namespace that takes restricted Pods only."""
    level = "restricted"
    labels = {f"pod-security.kubernetes.io/{mode}": level for mode in ("enforce", "warn", "audit")}
    admin.request("POST", "/api/v1/namespaces", {"metadata": {"name": "pki-system", "labels": labels}})
    return "pki-system"


def rendered(helm, name: str, *options: str) -> str:
    done = helm("template", "pki", CHARTS / name, "--namespace", "pki-system", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(text: str, kind: str) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(text) if one and one["kind"] == kind]


@pytest.mark.parametrize("name", [*NAMES, "petset-crds", "petset"])
def test_helm_finds_no_error(helm, name):
    done = helm("lint", "--strict", CHARTS / name)
    assert done.returncode == 0, done.stdout
    assert "[WARNING]" not in done.stdout + done.stderr
    assert "[ERROR]" not in done.stdout + done.stderr


@pytest.mark.parametrize(("namespace", "where"), [("", "--all-namespaces"), ("team", "--namespace team")])
def test_the_notes_of_petset_say_what_to_delete_before_it_is_removed(helm, namespace, where):
    options = ("--namespace", "petset-system", "--set", f"watchNamespace={namespace}", "--dry-run=client")
    done = helm("install", "petset", CHARTS / "petset", *options)
    assert done.returncode == 0, done.stderr
    assert f"  kubectl delete petsets.apps.operatorkit.dev --all {where}\n" in done.stdout


def test_the_definitions_that_helm_renders_are_those_of_the_classes(helm):
    found = {one["metadata"]["name"]: one for one in objects(rendered(helm, "pki-crds"), "CustomResourceDefinition")}
    wanted = {kind.crd()["metadata"]["name"]: kind.crd() for kind in app.kinds() if hasattr(kind, "crd")}
    assert {name: one["spec"] for name, one in found.items()} == {name: one["spec"] for name, one in wanted.items()}


@pytest.mark.parametrize(
    ("odd", "reported"),
    [
        ("replicas=-1", "/replicas"),
        ("podDisruptionBudget.maxUnavailable=some", "/podDisruptionBudget/maxUnavailable"),
        ("env[0].value=a", "/env/0"),
        ("extraVolumes[0].name=a", "/extraVolumes/0"),
        ("extraVolumeMounts[0].name=a", "/extraVolumeMounts/0"),
        ("topologySpreadConstraints[0].maxSkew=1", "/topologySpreadConstraints/0"),
        ("replica=1", "replica"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("watchNamespace=Team_A", "/watchNamespace"),
        ("resources.limits.memory=lots", "/resources/limits/memory"),
        ("rbac.create=perhaps", "/rbac/create"),
    ],
)
def test_an_odd_value_is_rejected_with_its_place(helm, odd, reported):
    done = helm("template", "pki", CHARTS / "pki", "--set", odd)
    assert done.returncode != 0
    assert reported in done.stderr


def test_two_replicas_survive_a_drain_and_a_rollout_with_webhooks_served(helm):
    text = rendered(helm, "pki")
    [deployment], [budget] = objects(text, "Deployment"), objects(text, "PodDisruptionBudget")
    spec = deployment["spec"]
    assert (spec["replicas"], spec["strategy"]["rollingUpdate"]) == (2, {"maxUnavailable": 0, "maxSurge": 1})
    selector = spec["selector"]
    assert (budget["spec"]["maxUnavailable"], budget["spec"]["selector"]) == (1, selector)
    spread = spec["template"]["spec"]["topologySpreadConstraints"]
    assert [one["topologyKey"] for one in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert all(one["labelSelector"] == selector for one in spread)
    own = {"topologyKey": "rack", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}
    text = rendered(helm, "pki", "--set-json", f"topologySpreadConstraints={json.dumps([own])}")
    [deployment] = objects(text, "Deployment")
    [constraint] = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert constraint == {**own, "labelSelector": selector}


def test_roles_for_metrics_are_created_where_asked_for(helm):
    def names(*options: str) -> set[str]:
        roles = objects(rendered(helm, "pki", *options), "ClusterRole")
        return {one["metadata"]["name"].rpartition(":")[2] for one in roles}

    assert names("--set", "metrics.enabled=true") - names() == {"metrics-auth", "metrics-reader"}


def test_environment_volumes_and_arguments_reach_the_container(helm):
    values = {
        "extraArgs": ["--cluster-domain=corp.example"],
        "env": [{"name": "A", "value": "b"}, {"name": "POD_NAMESPACE", "value": "wrong"}],
        "envFrom": [{"secretRef": {"name": "proxy"}}],
        "extraVolumes": [{"name": "more", "configMap": {"name": "more"}}],
        "extraVolumeMounts": [{"name": "more", "mountPath": "/more", "readOnly": True}],
    }
    options = [part for name, value in values.items() for part in ("--set-json", f"{name}={json.dumps(value)}")]
    [deployment] = objects(rendered(helm, "pki", *options), "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["args"][-1] == "--cluster-domain=corp.example"
    variables = {one["name"]: one for one in container["env"]}
    assert variables["A"]["value"] == "b"
    assert "valueFrom" in variables["POD_NAMESPACE"], "of two variables of one name, Kubernetes takes the last"
    assert container["envFrom"] == [{"secretRef": {"name": "proxy"}}]
    assert pod["volumes"][1:] == values["extraVolumes"]
    assert container["volumeMounts"][1:] == values["extraVolumeMounts"]


@pytest.mark.parametrize(
    ("replicas", "text"), [(2, "2 replicas run. The leader reconciles"), (1, "One replica runs"), (0, "It is paused")]
)
def test_the_notes_say_how_many_replicas_there_are(helm, replicas, text):
    options = ("--namespace", "pki-system", "--set", f"replicas={replicas}", "--dry-run=client")
    notes = helm("install", "pki", CHARTS / "pki", *options).stdout.partition("NOTES:")[2]
    assert text in notes
    assert [other for other in ("replicas run", "One replica", "paused") if other in notes] == [
        other for other in ("replicas run", "One replica", "paused") if other in text
    ]


def test_in_one_namespace_the_operator_gets_a_role_there_and_little_in_the_cluster(helm):
    text = rendered(helm, "pki", "--set", "watchNamespace=team")
    roles = {one["metadata"]["namespace"]: one["rules"] for one in objects(text, "Role")}
    assert set(roles) == {"team", "default"} | ({"pki-system"} if app.webhooks else set())
    assert {name for rule in roles["default"] for name in rule["resources"]} == {"events"}
    [cluster] = objects(text, "ClusterRole")
    found = {name.partition("/")[0] for rule in cluster["rules"] for name in rule["resources"]}
    webhooks = {resource.plural for resource in CONFIGURATIONS.values()}
    assert found - webhooks == {"certificatepolicies", "clusterissuers"}
    [deployment] = objects(text, "Deployment")
    assert "--namespace=team" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]


def namespaces_asked_about(text: str) -> dict[str, set[str | None]]:
    """Return, for each webhook, the namespaces that its selector names; {None} where it names none."""
    found: dict[str, set[str | None]] = {}
    for resource in CONFIGURATIONS.values():
        for one in objects(text, resource.kind):
            for webhook in one["webhooks"]:
                expressions = webhook["namespaceSelector"].get("matchExpressions", [])
                found[webhook["name"]] = {name for it in expressions for name in it["values"]} or {None}
    return found


def test_in_one_namespace_the_webhooks_are_for_that_and_for_what_is_in_none(helm):
    everywhere = namespaces_asked_about(rendered(helm, "pki"))
    limited = namespaces_asked_about(rendered(helm, "pki", "--set", "watchNamespace=team"))
    assert set(everywhere) == set(limited) == {webhook.name for webhook in app.webhooks}
    assert set().union(*everywhere.values()) == {None}
    namespaced = {webhook.name for webhook in app.webhooks if webhook.resource.namespaced}
    assert {name for name, only in limited.items() if only == {"team"}} == namespaced
    assert {name for name, only in limited.items() if only == {None}} == set(limited) - namespaced


def test_two_releases_share_no_name(helm):
    """Neither in two namespaces nor in one: Helm refuses what another release owns."""

    def names(release: str, namespace: str) -> set[tuple[str, str, str]]:
        done = helm("template", release, CHARTS / "pki", "--namespace", namespace)
        assert done.returncode == 0, done.stderr
        made = [one for one in yaml.safe_load_all(done.stdout) if one]
        return {(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in made}

    first = names("pki", "one")
    assert first
    for release, namespace in (("pki", "two"), ("other", "one")):
        assert not first & names(release, namespace)


def test_no_name_is_made_that_kubernetes_would_reject_for_its_length(helm):
    done = helm("template", "r" * 53, CHARTS / "pki", "--namespace", "n" * 63, "--set", f"nameOverride={'n' * 63}")
    assert done.returncode == 0, done.stderr
    [deployment] = objects(done.stdout, "Deployment")
    assert len(deployment["metadata"]["name"]) <= 63
    [service] = objects(done.stdout, "Service")
    assert len(service["metadata"]["name"]) <= 63
    for resource in CONFIGURATIONS.values():
        assert all(len(one["metadata"]["name"]) <= 253 for one in objects(done.stdout, resource.kind))


@pytest.mark.parametrize("word", ["true", "null", "1e3", "007"])
def test_a_name_that_yaml_would_read_as_something_else_stays_a_name(helm, word):
    values = ",".join(f"{it}={word}" for it in ("watchNamespace", "nameOverride", "fullnameOverride"))
    text = helm("template", word, CHARTS / "pki", "--namespace", word, "--set-string", values).stdout
    made = [it for it in yaml.safe_load_all(text) if it]
    assert {it["metadata"].get("namespace", word) for it in made} == {word, "default"}
    assert {it["metadata"]["labels"]["app.kubernetes.io/instance"] for it in made} == {word}
    [deployment] = objects(text, "Deployment")
    assert (deployment["metadata"]["name"], deployment["spec"]["template"]["spec"]["serviceAccountName"]) == (
        word,
        word,
    )
    assert {it["subjects"][0]["name"] for it in objects(text, "RoleBinding")} == {word}


@pytest.mark.parametrize("release", ["a.b", "r" * 50 + "--p", "pki--x"])
def test_the_names_of_a_release_are_labels_of_dns(helm, release):
    text = helm("template", release, CHARTS / "pki", "--set", "nameOverride=a--b").stdout
    names = [it["metadata"]["name"] for kind in ("Deployment", "Service") for it in objects(text, kind)]
    assert len(names) == 2
    assert all(re.fullmatch("[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", it) for it in names), names


def test_labels_and_annotations_of_the_chart_itself_win(helm):
    values = {
        "podLabels": {"app.kubernetes.io/name": "mine", "tier": "back"},
        "podAnnotations": {"kubectl.kubernetes.io/default-container": "mine", "a": "b"},
    }
    options = [part for name, it in values.items() for part in ("--set-json", f"{name}={json.dumps(it)}")]
    [deployment] = objects(rendered(helm, "pki", *options), "Deployment")
    metadata = deployment["spec"]["template"]["metadata"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= metadata["labels"].items()
    assert (metadata["labels"]["tier"], metadata["labels"]["app.kubernetes.io/name"]) == ("back", "pki")
    assert metadata["annotations"] == {"kubectl.kubernetes.io/default-container": "operator", "a": "b"}


@pytest.mark.parametrize("options", [(), ("--set", "watchNamespace=pki-system,verbose=true,podLabels.tier=back")])
def test_the_server_takes_everything_without_a_warning(helm, kubectl, controlplane, admin, system, options):
    if controlplane.backend != "real":
        pytest.skip("Kubernetes' own admission is asked")
    for name in NAMES:
        text = rendered(helm, name, *(options if name == "pki" else ()))
        done = kubectl.run(
            *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--warnings-as-errors", "-f", "-"),
            stdin=text,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        assert len(done.stdout.splitlines()) == len(list(filter(None, yaml.safe_load_all(text))))
    [deployment] = objects(rendered(helm, "pki", *options), "Deployment")
    template = deployment["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", **template["metadata"]}}
    pod["spec"] = {**template["spec"], "serviceAccountName": "default"}
    answer = admin.request("POST", f"/api/v1/namespaces/{system}/pods?dryRun=All", pod)
    assert (answer.status, answer.warnings) == (201, ()), answer.text


@pytest.mark.timeout(2000)
def test_an_install_waits_until_the_operator_runs_and_an_uninstall_leaves_the_objects_of_its_kinds(
    helm, kubeconfig, admin, system
):
    def ok(*arguments: Any) -> str:
        done = helm(*arguments, kubeconfig=kubeconfig)
        assert done.returncode == 0, f"helm {' '.join(map(str, arguments))}: {done.stderr}"
        return done.stdout

    where = (
        "--namespace",
        system,
        "--wait",
        "--timeout",
        "600s",
    )  # a busy kube-apiserver takes a minute to finalize a definition
    ok("install", "pki-crds", CHARTS / "pki-crds", *where)
    said = ok("install", "pki", CHARTS / "pki", *where)
    assert "pki reconciles Certificate" in said
    status = admin.request("GET", f"/apis/apps/v1/namespaces/{system}/deployments/pki").json["status"]
    assert status["availableReplicas"] == 2
    assert [one["name"] for one in json.loads(ok("list", "--namespace", system, "-o", "json"))] == ["pki", "pki-crds"]
    other = ("--namespace", "default", "--wait", "--timeout", "60s")
    ok("install", "second", CHARTS / "pki", "--set", "watchNamespace=default", *other)
    ok("uninstall", "second", *other)
    paused = ok("upgrade", "pki", CHARTS / "pki", "--set", "replicas=0", *where)
    assert "It is paused" in paused
    kinds = "Certificate, CertificatePolicy, ClusterIssuer, Issuer, Pki"
    assert f"changes of {kinds} are rejected" in " ".join(paused.split())

    ok("uninstall", "pki", *where)
    ok("uninstall", "pki-crds", *where)
    assert admin.request("GET", f"/apis/apps/v1/namespaces/{system}/deployments/pki").status == 404
    assert admin.request("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/pki-system:pki").status == 404
    assert admin.request("GET", f"{CRDS}/pkis.pki.operatorkit.dev").status == 200

    ok("install", "pki-crds", CHARTS / "pki-crds", "--set", "keep=false", *where)
    ok("uninstall", "pki-crds", *where)
    assert admin.request("GET", f"{CRDS}/pkis.pki.operatorkit.dev").status == 404
