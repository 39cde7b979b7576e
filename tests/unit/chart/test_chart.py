"""Charts are made of the operator's declaration; a directory is held against them file by file."""

from __future__ import annotations

import re

import pytest
import yaml
from kubernetes.client.models import V1ConfigMap, V1Pod, V1Secret

from operatorkit import Model, Operator, Resource
from operatorkit.chart import crd_chart, operator_chart
from operatorkit.errors import InputError
from operatorkit.resource import NoStatus
from operatorkit.webhooks import Allowed


class KeySpec(Model):
    """Names may hold {{namespace}}."""

    size: int = 1


class Key(Resource[KeySpec, NoStatus], group="keys.example.io", version="v1"):
    """A key. {{ It }} is opened by braces."""


async def nothing(obj, ctx):
    return None


def declared() -> Operator:
    app = Operator("keys")
    app.reconcile(Key, owns=[V1ConfigMap])(nothing)
    return app


def test_the_chart_of_definitions_has_one_file_for_each_own_kind():
    chart = crd_chart(declared(), version="1.2.3")
    assert chart.name == "keys-crds"
    assert [name for name in chart.files if name.endswith(".yaml")] == [
        "Chart.yaml",
        "values.yaml",
        "templates/keys.example.io_keys.yaml",
    ]
    about = yaml.safe_load(chart.files["Chart.yaml"])
    assert (about["name"], about["version"], about["appVersion"]) == ("keys-crds", "1.2.3", "1.2.3")


def test_a_definition_is_the_rendered_one_with_braces_that_helm_leaves_alone():
    text = crd_chart(declared(), version="1.2.3").files["templates/keys.example.io_keys.yaml"]
    assert "{{namespace}}" not in text
    assert '{{ "{{" }}namespace}}' in text
    spec = text[text.index("\nspec:") :].replace('{{ "{{" }}', "{{")
    assert yaml.safe_load(spec)["spec"] == Key.crd()["spec"]


def test_an_operator_without_kinds_of_its_own_has_no_chart_of_definitions():
    app = Operator("copies")
    app.reconcile(V1ConfigMap)(nothing)
    with pytest.raises(InputError, match="copies has no kinds of its own"):
        crd_chart(app, version="1.2.3")
    notes = operator_chart(app, "copies", version="1.2.3").files["templates/NOTES.txt"]
    assert "copies runs in" in notes
    assert "-crds" not in notes


def test_the_container_runs_the_operator_that_was_named_with_probes_on_the_port_it_serves():
    text = operator_chart(declared(), "my.module:app", version="1.2.3").files["templates/deployment.yaml"]
    assert '- "my.module:app"' in text
    port = re.search(r"--health-port=(\d+)", text)
    assert port
    assert f"containerPort: {port[1]}" in text
    assert re.findall(r"path: (/\w+)", text) == ["/livez", "/livez", "/readyz"]


def test_replicas_elect_a_leader_by_a_lease_of_the_release_with_just_its_permissions():
    files = operator_chart(declared(), "keys", version="1.2.3").files
    assert "- --leader-elect\n" in files["templates/deployment.yaml"]
    assert '- --leader-elect-resource-name={{ include "keys.fullname" . }}' in files["templates/deployment.yaml"]
    role = files["templates/rbac.yaml"]
    assert 'resourceNames: ["{{ include `keys.fullname` . }}"]\n  verbs: ["get", "update"]' in role.replace(
        "\n    ", "\n  "
    )
    assert yaml.safe_load(files["values.yaml"])["replicas"] == 2


def test_an_operator_of_namespaced_kinds_gets_no_cluster_role_where_it_works_in_one_namespace():
    text = operator_chart(declared(), "keys", version="1.2.3").files["templates/rbac.yaml"]
    head, _, _ = text.partition("kind: ClusterRole")
    assert head.rstrip().endswith("{{- if not .Values.watchNamespace }}\napiVersion: rbac.authorization.k8s.io/v1")


def test_what_is_written_does_not_differ_and_what_was_changed_does(tmp_path):
    chart = operator_chart(declared(), "keys", version="1.2.3")
    root = chart.write(tmp_path)
    assert root == tmp_path / "keys"
    assert chart.differences(tmp_path) == []
    (root / "values.yaml").write_text("replicas: 1\n")
    (root / "Chart.yaml").unlink()
    (root / "templates" / "mine.yaml").write_text("")
    assert chart.differences(tmp_path) == [
        f"{root}/Chart.yaml is missing",
        f"{root}/templates/mine.yaml is not generated from the code: remove it",
        f"{root}/values.yaml differs from the code",
    ]


def test_the_same_declaration_makes_the_same_bytes():
    first, second = (operator_chart(declared(), "keys", version="1.2.3").files for _ in range(2))
    assert first == second
    assert all(text.endswith("\n") and "\t" not in text for text in first.values())


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "keys").write_text("a file")
    with pytest.raises(InputError, match=r"keys cannot be written"):
        operator_chart(declared(), "keys", version="1.2.3").write(tmp_path)


def with_webhooks() -> Operator:
    app = declared()

    @app.validate(Key, object_selector={"matchLabels": {"tier": "prod"}}, failure_policy="Ignore")
    async def evaluate(new, old, request):
        return Allowed()

    return app


def test_webhooks_bring_a_service_their_webhook_configuration_and_the_option_that_serves_them():
    files = operator_chart(with_webhooks(), "keys", version="1.2.3").files
    assert "kind: Service\n" in files["templates/service.yaml"]
    registered = files["templates/webhooks.yaml"]
    assert "kind: ValidatingWebhookConfiguration" in registered
    assert "MutatingWebhookConfiguration" not in registered
    assert "name: {{ include `keys.webhookService` . }}.{{ .Release.Namespace }}.operatorkit.dev" in registered
    entries = yaml.safe_load(re.sub(r"(?m)^ *\{\{- (if|else|end)[^\n]*\n", "", registered.partition("webhooks:\n")[2]))
    assert [(one["name"], one["failurePolicy"]) for one in entries] == [("validate.keys.keys.example.io", "Ignore")]
    assert entries[0]["objectSelector"] == {"matchLabels": {"tier": "prod"}}
    assert entries[0]["clientConfig"]["service"]["name"] == "{{ include `keys.webhookService` . }}"
    assert "caBundle" not in entries[0]["clientConfig"]
    assert "--webhook-service=" in files["templates/deployment.yaml"]


def test_a_pod_that_stops_has_time_for_its_runs_and_for_the_longest_review():
    def grace(app):
        return yaml.safe_load(operator_chart(app, "keys", version="1.2.3").files["values.yaml"])[
            "terminationGracePeriodSeconds"
        ]

    assert (grace(declared()), grace(with_webhooks())) == (30, 40)


def test_private_keys_do_not_pass_through_the_disk_of_a_node():
    text = operator_chart(with_webhooks(), "keys", version="1.2.3").files["templates/deployment.yaml"]
    assert "emptyDir:\n            medium: Memory" in text


def test_without_webhooks_there_is_nothing_of_them():
    files = operator_chart(declared(), "keys", version="1.2.3").files
    assert "webhook" not in "".join(text for name, text in files.items() if name != "Chart.yaml").lower()


def test_the_keys_of_webhooks_are_the_operators_in_its_own_namespace_only():
    text = operator_chart(with_webhooks(), "keys", version="1.2.3").files["templates/rbac.yaml"]
    cluster, _, own = text.partition("\nkind: Role\n")
    assert 'resources: ["secrets"]' not in cluster
    service = "{{ include `keys.webhookService` . }}"
    assert f'resourceNames: ["{service}-tls"]\n    verbs: ["get", "list", "watch", "update"]' in own
    name = f"{service}.{{{{ .Release.Namespace }}}}.operatorkit.dev"
    assert f'resourceNames: ["{name}"]\n    verbs: ["get", "list", "watch", "patch"]' in cluster


def test_a_reason_is_one_line_of_a_role_and_nothing_that_helm_reads():
    app = Operator("things")
    app.needs(V1ConfigMap, "get", reason="first\nsecond: {{ .Values.secret }}")
    [line] = [
        it
        for it in operator_chart(app, "things", version="1").files["templates/rbac.yaml"].splitlines()
        if "second" in it
    ]
    assert line.strip() == '# get: first second: {{ "{{" }} .Values.secret }}'


def rendered_without_helm(text: str) -> str:
    """Drop the lines that only Helm reads."""
    return re.sub(r"(?m)^ *\{\{-.*\}\}\n", "", text)


def test_only_the_ports_that_are_served_can_be_reached():
    def ports(app):
        text = operator_chart(app, "keys", version="1.2.3").files["templates/networkpolicy.yaml"]
        policy = yaml.safe_load(rendered_without_helm(text).replace("{{", "'{{").replace("}}", "}}'"))
        assert policy["spec"]["policyTypes"] == ["Ingress"]
        return [port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]]

    assert (ports(declared()), ports(with_webhooks())) == (["health"], ["webhooks", "health"])


@pytest.mark.parametrize(("verb", "bounded"), [("get", False), ("create", True), ("update", True), ("patch", True)])
def test_who_may_write_secrets_everywhere_is_warned_of_what_that_means_and_gets_a_policy_to_bound_it(verb, bounded):
    app = with_webhooks()  # its own Secret, for the keys of its webhooks, does not count
    app.needs(V1Secret, verb, reason="passwords are kept there")
    files = operator_chart(app, "keys", version="1.2.3").files
    assert ("templates/secretpolicy.yaml" in files) is bounded
    assert ("secretPolicy" in yaml.safe_load(files["values.yaml"])) is bounded
    assert ("kubernetes.io/service-account-token" in files["templates/NOTES.txt"]) is bounded


def test_who_installs_a_webhook_for_pods_in_the_only_namespace_that_it_is_for_is_warned_that_it_evaluates_nothing():
    app = declared()

    @app.validate(V1Pod)
    async def evaluate(new, old, request):
        return Allowed()

    notes = operator_chart(app, "keys", version="1.2.3").files["templates/NOTES.txt"]
    assert "Its webhooks for Pod validate nothing" in notes
    assert (
        "validate nothing" not in operator_chart(with_webhooks(), "keys", version="1.2.3").files["templates/NOTES.txt"]
    )


def test_who_installs_an_operator_that_sets_finalizers_learns_what_to_delete_before_it_is_removed():
    app = declared()
    assert "helm uninstall" not in operator_chart(app, "keys", version="1.2.3").files["templates/NOTES.txt"]

    @app.finalize(Key)
    async def clean_up(obj, ctx):
        return None

    notes = operator_chart(app, "keys", version="1.2.3").files["templates/NOTES.txt"]
    assert "Before `helm uninstall`" in notes
    assert "kubectl delete keys.keys.example.io --all {{ with .Values.watchNamespace }}--namespace {{ . }}" in notes
