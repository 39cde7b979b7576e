"""Import: resources of Kritis and policies of Binary Authorization, as objects of this operator.

What belongs here: the translation, with a remark for each thing that it cannot say. What does not: files. Pure.

    Kritis   AttestationAuthority, GenericAttestationPolicy, ImageSecurityPolicy
    Binary Authorization   the policy, and attestors, as gcloud exports them

What cannot be said is left stricter, never looser.

Source: https://github.com/grafeas/kritis/blob/master/docs/resources.md and
https://cloud.google.com/binary-authorization/docs/policy-yaml-reference
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from operators.attestation.api import GROUP
from operators.attestation.images import ImageReferenceError, parse_pattern

__all__ = ["Imported", "import_objects"]

_API_VERSION: Final = f"{GROUP}/v1alpha1"
_NOTE = re.compile(r"projects/.+")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9.-]+")
_NO_NAME: Final = "no-authority"

JSONObject = dict[str, Any]


@dataclass
class Imported:
    """The objects that were made, and remarks for people."""

    objects: list[JSONObject] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def import_objects(documents: Iterable[Mapping[str, Any]]) -> Imported:
    """Translate documents; those of other kinds are left out with a remark."""
    found = Imported()
    for one in documents:
        kind, api_version = str(one.get("kind", "")), str(one.get("apiVersion", ""))
        if api_version.startswith("kritis.grafeas.io/"):
            _kritis(kind, one, found)
        elif "defaultAdmissionRule" in one:
            _policy(one, found)
        elif "userOwnedGrafeasNote" in one or "userOwnedDrydockNote" in one:
            _attestor(one, found)
        else:
            what = kind or ", ".join(sorted(map(str, one)))[:100]
            found.remarks.append(
                f"{what} is neither a resource of Kritis nor of Binary Authorization: it is omitted"
            )
    return found


def _object(kind: str, name: str, spec: JSONObject, namespace: str = "") -> JSONObject:
    metadata = {"name": _name(name), **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": _API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}


def _name(text: str) -> str:
    return _NOT_IN_NAMES.sub("-", text.lower()).strip("-.")[:253] or "imported"


# Kritis --------------------------------------------------------------------------------------------------------------


def _kritis(kind: str, one: Mapping[str, Any], found: Imported) -> None:
    metadata, spec = one.get("metadata") or {}, one.get("spec") or {}
    name, namespace = str(metadata.get("name", "")), str(metadata.get("namespace") or "default")
    where = f"{kind} {namespace}/{name}"
    if kind == "AttestationAuthority":
        _kritis_authority(spec, name, namespace, where, found)
    elif kind == "GenericAttestationPolicy":
        names = [str(one) for one in spec.get("attestationAuthorityNames") or ()]
        references = [{"kind": "AttestationAuthority", "name": _name(one)} for one in names]
        content: JSONObject = {"require": {"anyOf": references or [{"name": _NO_NAME}]}}
        content |= _exempt(
            spec.get("admissionAllowlistPatterns") or spec.get("admissionWhitelistPatterns"),
            where,
            found,
        )
        found.objects.append(_object("ImagePolicy", name, content, namespace))
    elif kind == "ImageSecurityPolicy":
        found.objects.append(_object("ImagePolicy", name, _security(spec, where, found), namespace))
    else:
        found.remarks.append(f"{where}: this kind of Kritis is not known: it is omitted")


def _kritis_authority(
    spec: Mapping[str, Any], name: str, namespace: str, where: str, found: Imported
) -> None:
    keys: list[JSONObject] = []
    listed = spec.get("publicKeys") or [
        {"keyId": name, "asciiArmoredPgpPublicKey": spec.get("publicKeyData")}
    ]
    for number, key in enumerate(listed):
        armour = str(key.get("asciiArmoredPgpPublicKey") or "")
        pkix = key.get("pkixPublicKey") or {}
        keys += _key(
            str(key.get("keyId") or f"{name}-{number}"), _armour(armour), pkix, where, found
        )
    if spec.get("privateKeySecretName"):
        found.remarks.append(
            f"{where}: privateKeySecretName is omitted: this operator does not sign"
        )
    note = _note(str(spec.get("noteReference") or ""), name)
    _add_authority("AttestationAuthority", name, note, keys, where, found, namespace)


def _armour(text: str) -> str:
    """Return a key in armour, which some versions of Kritis have in base64 once more."""
    if not text or "BEGIN PGP" in text:
        return text
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return text


def _security(spec: Mapping[str, Any], where: str, found: Imported) -> JSONObject:
    rule = (
        spec.get("packageVulnerabilityRequirements") or spec.get("packageVulnerabilityPolicy") or {}
    )
    content: JSONObject = {
        "vulnerability": {
            "parent": "projects/scans",
            "maximumSeverity": str(rule.get("maximumSeverity") or "BLOCK_ALL"),
            "maximumFixUnavailableSeverity": str(
                rule.get("maximumFixUnavailableSeverity") or "BLOCK_ALL"
            ),
        }
    }
    found.remarks.append(
        f"{where}: set spec.vulnerability.parent to the project of the scanner's occurrences"
    )
    allowed = rule.get("allowlistCVEs") or rule.get("whitelistCVEs") or ()
    if allowed:
        content["vulnerability"]["allowCVEs"] = [
            {"id": str(one).rpartition("/")[2]} for one in allowed
        ]
    images = spec.get("imageAllowlist") or spec.get("imageWhitelist") or ()
    return content | _exempt([{"namePattern": one} for one in images], where, found)


# Binary Authorization ------------------------------------------------------------------------------------------------


def _attestor(one: Mapping[str, Any], found: Imported) -> None:
    name = str(one.get("name", "")).rpartition("/")[2]
    content = one.get("userOwnedGrafeasNote") or one.get("userOwnedDrydockNote") or {}
    where, keys = f"attestor {name}", []
    for number, key in enumerate(content.get("publicKeys") or ()):
        armour, pkix = (
            str(key.get("asciiArmoredPgpPublicKey") or ""),
            key.get("pkixPublicKey") or {},
        )
        keys += _key(str(key.get("id") or f"{name}-{number}"), armour, pkix, where, found)
    note = _note(str(content.get("noteReference") or ""), name)
    _add_authority("ClusterAttestationAuthority", name, note, keys, where, found)


def _policy(one: Mapping[str, Any], found: Imported) -> None:
    name = _name(
        str(one.get("name", "")).removesuffix("/policy").rpartition("/")[2]
        or "binary-authorization"
    )
    exempt = _exempt(one.get("admissionWhitelistPatterns"), "the policy", found)
    namespaces = {
        **(one.get("kubernetesNamespaceAdmissionRules") or {}),
        **{str(key).partition(":")[0]: rule for key, rule in
           (one.get("kubernetesServiceAccountAdmissionRules") or {}).items()},
    }  # fmt: skip
    if one.get("kubernetesServiceAccountAdmissionRules"):
        found.remarks.append("rules for service accounts become rules for their namespaces")
    for key in ("clusterAdmissionRules", "istioServiceIdentityAdmissionRules"):
        if one.get(key):
            found.remarks.append(
                f"{key} is omitted: apply the rule of each cluster in that cluster"
            )
    if str(one.get("globalPolicyEvaluationMode", "")) == "ENABLE":
        found.remarks.append(
            "globalPolicyEvaluationMode is omitted: exempt the images of the system yourself"
        )
    others = sorted(namespaces)
    _rule(one["defaultAdmissionRule"], name, exempt, others, "NotIn", found)
    for namespace in others:
        _rule(namespaces[namespace], f"{name}-{namespace}", exempt, [namespace], "In", found)


def _rule(
    rule: Mapping[str, Any],
    name: str,
    exempt: JSONObject,
    namespaces: list[str],
    operator: str,
    found: Imported,
) -> None:
    mode = str(rule.get("evaluationMode", ""))
    if mode == "ALWAYS_ALLOW":
        found.remarks.append(f"{name} always allows: it needs no policy")
        return
    attestors = [str(one).rpartition("/")[2] for one in rule.get("requireAttestationsBy") or ()]
    if mode != "REQUIRE_ATTESTATION" or not attestors:
        attestors = [_NO_NAME]
        found.remarks.append(
            f"{name} always denies: it requires the authority {_NO_NAME!r}, which must not exist"
        )
    spec: JSONObject = {"require": {"allOf": [{"name": _name(one)} for one in attestors]}, **exempt}
    if str(rule.get("enforcementMode", "")) == "DRYRUN_AUDIT_LOG_ONLY":
        spec["mode"] = "Audit"
    if namespaces:
        expression = {
            "key": "kubernetes.io/metadata.name",
            "operator": operator,
            "values": namespaces,
        }
        spec["match"] = {"namespaceSelector": {"matchExpressions": [expression]}}
    found.objects.append(_object("ClusterImagePolicy", name, spec))


# What they share -----------------------------------------------------------------------------------------------------


def _add_authority(
    kind: str,
    name: str,
    note: str,
    keys: list[JSONObject],
    where: str,
    found: Imported,
    namespace: str = "",
) -> None:
    if not keys:
        found.remarks.append(f"{where} has no supported public key: it is omitted")
        return
    found.objects.append(_object(kind, name, {"noteReference": note, "keys": keys}, namespace))


def _note(reference: str, name: str) -> str:
    """Return the name of a note; Kritis has the version of the API in front, or the project alone."""
    match = _NOTE.search(reference)
    note = match[0] if match else f"projects/{name}"
    return note if "/notes/" in note else f"{note.rstrip('/')}/notes/{name}"


def _key(
    id_: str, armour: str, pkix: Mapping[str, Any], where: str, found: Imported
) -> list[JSONObject]:
    id_ = id_[:253]
    if armour:
        return [{"id": id_, "type": "PGP", "publicKey": armour}]
    pem = str(pkix.get("publicKeyPem") or "")
    if not pem:
        found.remarks.append(f"{where}: the key {id_!r} has no content: it is omitted")
        return []
    algorithm = str(pkix.get("signatureAlgorithm") or "")
    algorithm = algorithm.replace("EC_SIGN_", "ECDSA_")
    return [
        {
            "id": id_,
            "type": "PKIX",
            "publicKey": pem,
            **({"signatureAlgorithm": algorithm} if algorithm else {}),
        }
    ]


def _exempt(patterns: Any, where: str, found: Imported) -> JSONObject:
    exempt: list[str] = []
    for one in patterns or ():
        text = str(one.get("namePattern") if isinstance(one, Mapping) else one)
        name = text.partition("@")[0]
        try:
            parse_pattern(name)
        except ImageReferenceError as error:
            found.remarks.append(f"{where}: the pattern {text!r} is omitted: {error}")
            continue
        if name != text:
            found.remarks.append(
                f"{where}: {text!r} names a digest, but patterns match names: it is omitted"
            )
            continue
        exempt.append(name)
    return {"exempt": exempt} if exempt else {}
