from __future__ import annotations

from operatorkit.crd.kubernetes import REF_PREFIX, definitions, kinds
from operatorkit.names import GroupVersionKind


def test_a_kind_leads_to_its_definition():
    assert kinds()[GroupVersionKind("apps", "v1", "Deployment")] == "io.k8s.api.apps.v1.Deployment"
    assert "spec" in definitions()["io.k8s.api.apps.v1.Deployment"]["properties"]


def test_lists_keep_their_keys_and_strategies():
    ports = definitions()["io.k8s.api.core.v1.Container"]["properties"]["ports"]
    assert ports["x-kubernetes-list-map-keys"] == ["containerPort", "protocol"]
    assert ports["x-kubernetes-patch-merge-key"] == "containerPort"
    assert definitions()["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"]["default"] == "TCP"


def test_every_reference_leads_somewhere():
    def references(schema):
        if isinstance(schema, dict):
            if isinstance(schema.get("$ref"), str):
                yield schema["$ref"].removeprefix(REF_PREFIX)
            for value in schema.values():
                yield from references(value)
        elif isinstance(schema, list):
            for value in schema:
                yield from references(value)

    assert set(references(dict(definitions()))) <= set(definitions())


def test_only_stable_versions_are_there():
    assert not [gvk for gvk in kinds() if "alpha" in gvk.version or "beta" in gvk.version]
