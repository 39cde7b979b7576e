"""What others rely on by name: it changes with a decision record, or not at all."""

from __future__ import annotations

import json

import pytest

from operatorkit.crd import Structural
from operators.pki import Certificate, CertificatePolicy, ClusterIssuer, Issuer, Pki, app, reasons

KINDS = (Certificate, CertificatePolicy, ClusterIssuer, Issuer, Pki)


def schema_of(kind) -> dict:
    return kind.crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def test_the_reasons_are_these_words():
    words = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    assert words == {
        "CertificateIssued",
        "CertificateRenewed",
        "DeniedByPolicy",
        "InvalidSpec",
        "IssuerNotFound",
        "IssuerNotReady",
        "IssuerReady",
        "KeyPolicyMismatch",
        "PolicyReady",
        "ProfileViolation",
        "RetryScheduled",
        "SecretConflict",
        "SecretNotFound",
        "SigningFailed",
        "UpToDate",
    }


def test_the_fields_of_the_kinds_are_these():
    fields = {kind.kind: sorted(schema_of(kind)["properties"]["spec"]["properties"]) for kind in KINDS}
    assert fields == {
        "Certificate": [
            "commonName",
            "dnsNames",
            "duration",
            "emailAddresses",
            "ipAddresses",
            "isCA",
            "issuerRef",
            "privateKey",
            "renewBefore",
            "secretName",
            "uris",
            "usages",
        ],
        "CertificatePolicy": [
            "allow",
            "allowCA",
            "allowedKeyAlgorithms",
            "allowedNames",
            "allowedUsages",
            "issuers",
            "maxDuration",
            "maxNames",
            "nameConstraints",
            "namespaces",
            "services",
        ],
        "ClusterIssuer": ["ca", "selfSigned"],
        "Issuer": ["ca", "selfSigned"],
        "Pki": ["issuerRef", "secretName", "serviceName"],
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_definition_is_structural_small_and_explains_every_field(kind):
    definition = kind.crd()
    assert len(json.dumps(definition)) < 200_000
    schema = schema_of(kind)
    assert Structural(schema).check() == []
    silent = [path for path, node in _nodes(schema["properties"]["spec"], "spec") if not node.get("description")]
    assert silent == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_kubectl_shows_whether_an_object_is_ready_and_how_old_it_is(kind):
    version = kind.crd()["spec"]["versions"][0]
    columns = [column["name"] for column in version["additionalPrinterColumns"]]
    assert columns[0] == "Ready"
    assert columns[-1] == "Age"
    reason = next(column for column in version["additionalPrinterColumns"] if column["name"] == "Reason")
    assert (reason["jsonPath"], reason.get("priority", 0)) == ('.status.conditions[?(@.type=="Ready")].reason', 0)
    assert version["subresources"] == {"status": {}}


def test_short_names_are_unique_and_no_kind_is_called_like_the_category():
    names = [kind.crd()["spec"]["names"] for kind in KINDS]
    called = [name for one in names for name in (one["singular"], one["plural"], *one.get("shortNames", []))]
    assert len(called) == len(set(called))
    assert all(one["categories"] == ["pki-all"] for one in names)
    assert "pki-all" not in called, "kubectl takes a name for the category before the kind"
    assert len({one["plural"] for one in names}) == len(KINDS)


def test_the_operator_is_called_pki_and_reconciles_every_kind():
    assert app.name == "pki"
    assert {reconciler.kind for reconciler in app.reconcilers} == set(KINDS)


def _nodes(schema, path):
    for name, node in schema.get("properties", {}).items():
        yield f"{path}.{name}", node
        yield from _nodes(node, f"{path}.{name}")
