"""The three versions of the API: what v1beta1 and v1alpha1 call what v1 has.

What belongs here: tables of names, and from a body of one version to a body of another. What does not: checking a body
of v1 (`schema`). Pure.

Objects are stored as v1. What v1 cannot say (`contentType`, `resource.name`, `severityName`, `operationName`) would be
lost, so the body as it was given is stored beside it, and returned to readers of that version: `to_v1` need not be
exact. The tables are from the published protos; v1alpha1 also has the spellings of its first clients (`attestation`
beside `attestationDetails`), and every version takes resourceUri, resourceUrl, resource_url and resource.uri.

    v1            v1beta1                             v1alpha1
    resourceUri   resource.uri                        resourceUrl
    attestation   attestationAuthority (note)         attestationAuthority, kind ATTESTATION_AUTHORITY
                  attestation.attestation             attestationDetails
    image         baseImage, derivedImage.derivedImage baseImage, derivedImageDetails, kind IMAGE_BASIS
    package       installation.installation           installationDetails, kind PACKAGE_MANAGER
    deployment    deployable, deployment.deployment   deployable, deploymentDetails, kind DEPLOYABLE
    discovery     discovered.discovered               discoveredDetails
    vulnerability the same; other names within        vulnerabilityType, vulnerabilityDetails,
                                                      kind PACKAGE_VULNERABILITY
    build         the same                            buildType, buildDetails, kind BUILD_DETAILS

Kinds that a version does not have (UPGRADE, COMPLIANCE, DSSE_ATTESTATION, SBOM_REFERENCE, ...) keep the names of v1.

Source: https://github.com/grafeas/grafeas/tree/master/proto
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final, Literal

from operators.attestation.server.errors import ApiError
from operators.attestation.server.names import Collection

__all__ = ["VERSIONS", "Version", "from_v1", "to_v1"]

JSONObject = dict[str, Any]
Version = Literal["v1", "v1beta1", "v1alpha1"]
VERSIONS: Final[tuple[Version, ...]] = ("v1", "v1beta1", "v1alpha1")

_RESOURCE_SPELLINGS = ("resourceUri", "resource_uri", "resourceUrl", "resource_url")
_SNAKE = {
    "note_name": "noteName",
    "short_description": "shortDescription",
    "long_description": "longDescription",
}

# v1 name of a kind's field -> the same in an older version; the first of several is written, all are read
_BETA_NOTES: dict[str, tuple[str, ...]] = {
    "image": ("baseImage",),
    "deployment": ("deployable",),
    "attestation": ("attestationAuthority",),
}
_ALPHA_NOTES: dict[str, tuple[str, ...]] = {
    **_BETA_NOTES,
    "vulnerability": ("vulnerabilityType",),
    "build": ("buildType",),
}
_BETA_OCCURRENCES: dict[str, tuple[str, ...]] = {
    "image": ("derivedImage",),
    "package": ("installation",),
    "deployment": ("deployment",),
    "discovery": ("discovered",),
    "attestation": ("attestation",),
}
_ALPHA_OCCURRENCES: dict[str, tuple[str, ...]] = {
    "image": ("derivedImageDetails", "derivedImage"),
    "package": ("installationDetails", "installation"),
    "deployment": ("deploymentDetails", "deployment"),
    "discovery": ("discoveredDetails", "discovered"),
    "attestation": ("attestationDetails", "attestation"),
    "vulnerability": ("vulnerabilityDetails",),
    "build": ("buildDetails",),
}
_FIELDS: dict[tuple[Version, Collection], dict[str, tuple[str, ...]]] = {
    ("v1beta1", "notes"): _BETA_NOTES,
    ("v1beta1", "occurrences"): _BETA_OCCURRENCES,
    ("v1alpha1", "notes"): _ALPHA_NOTES,
    ("v1alpha1", "occurrences"): _ALPHA_OCCURRENCES,
}
_WRAPPED = frozenset(
    _BETA_OCCURRENCES.values()
)  # v1beta1 has a message of that name within the field of that name

_ALPHA_KINDS = {
    "VULNERABILITY": "PACKAGE_VULNERABILITY",
    "BUILD": "BUILD_DETAILS",
    "IMAGE": "IMAGE_BASIS",
    "PACKAGE": "PACKAGE_MANAGER",
    "DEPLOYMENT": "DEPLOYABLE",
    "ATTESTATION": "ATTESTATION_AUTHORITY",
}
_V1_KINDS = {alpha: v1 for v1, alpha in _ALPHA_KINDS.items()}
_ONLY_OLDER = ("intoto", "sbom", "spdxPackage", "spdxFile", "spdxRelationship")

_ARMOUR = b"-----BEGIN PGP "


def to_v1(version: Version, collection: Collection, body: Mapping[str, Any]) -> JSONObject:
    """Return a body of `version` as one of v1, not yet checked against the schema. Raises ApiError."""
    result = {_SNAKE.get(key, key): value for key, value in body.items()}
    if collection == "occurrences":
        _read_resource(result)
    if version == "v1":
        return result
    result.pop("operationName", None)
    for field in _ONLY_OLDER:
        if field in result:
            raise ApiError(
                "INVALID_ARGUMENT",
                f"{field} is of a kind that this server does not store: use a kind of v1",
            )
    if "kind" in result:
        said = result["kind"]
        result["kind"] = _V1_KINDS.get(said, said) if isinstance(said, str) else said
        if said in ("KIND_UNSPECIFIED", "NOTE_KIND_UNSPECIFIED"):
            del result["kind"]
    for name, spellings in _FIELDS[version, collection].items():
        found = [spelling for spelling in spellings if spelling in result]
        values = [result.pop(spelling) for spelling in found]
        if len(found) > 1:
            raise ApiError(
                "INVALID_ARGUMENT",
                f"{' and '.join(found)} are names of the same field: set one of them",
            )
        if found:
            result[name] = _unwrapped(version, collection, found[0], values[0])
    _within(collection, result, _INTO_V1)
    return result


def from_v1(version: Version, collection: Collection, body: Mapping[str, Any]) -> JSONObject:
    """Return a stored body of v1 as one of `version`."""
    result = dict(body)
    if version == "v1":
        return result
    _within(collection, result, _OUT_OF_V1)
    for name, (spelling, *_) in _FIELDS[version, collection].items():
        if name in result:
            value = result.pop(name)
            wrapped = (
                version == "v1beta1" and collection == "occurrences" and (spelling,) in _WRAPPED
            )
            result[spelling] = {spelling: value} if wrapped else value
    if version == "v1alpha1" and "kind" in result:
        result["kind"] = _ALPHA_KINDS.get(result["kind"], result["kind"])
    if "resourceUri" in result:
        uri = result.pop("resourceUri")
        result |= {"resourceUrl": uri} if version == "v1alpha1" else {"resource": {"uri": uri}}
    return result


def _read_resource(body: JSONObject) -> None:
    """Bring the spellings of the resource to `resourceUri`. Raises ApiError for two that differ."""
    found = [body.pop(spelling) for spelling in _RESOURCE_SPELLINGS if spelling in body]
    resource = body.get("resource")
    if isinstance(resource, Mapping):
        del body["resource"]
        found += [resource[spelling] for spelling in ("uri", "url") if spelling in resource]
    if any(uri != found[0] for uri in found):
        raise ApiError(
            "INVALID_ARGUMENT",
            f"the resource is set twice, as {found[0]!r} and {found[-1]!r}: give one",
        )
    if found:
        body["resourceUri"] = found[0]


def _unwrapped(version: Version, collection: Collection, field: str, value: Any) -> Any:
    if version == "v1beta1" and collection == "occurrences" and isinstance(value, Mapping):
        return value.get(field, {}) if set(value) <= {field} else value
    return value


# Within the field of a kind ------------------------------------------------------------------------------------------


def _within(
    collection: Collection, body: JSONObject, changes: Mapping[tuple[Collection, str], Any]
) -> None:
    for (where, field), change in changes.items():
        value = body.get(field)
        if where == collection and isinstance(value, Mapping):
            body[field] = change(dict(value))


def _renamed(value: JSONObject, names: Mapping[str, str]) -> JSONObject:
    return {names.get(key, key): item for key, item in value.items()}


def _mapped(value: JSONObject, field: str, change: Any) -> JSONObject:
    items = value.get(field)
    if isinstance(items, list):
        value[field] = [change(dict(item)) if isinstance(item, Mapping) else item for item in items]
    return value


_LOCATION = ("CpeUri", "Package", "Version")


def _flat(item: JSONObject, field: str, prefix: str) -> JSONObject:
    """Bring `{fixedLocation: {cpeUri, package, version}}` to `{fixedCpeUri, fixedPackage, fixedVersion}`."""
    location = item.pop(field, None)
    if isinstance(location, Mapping):
        for part in _LOCATION:
            name = part[0].lower() + part[1:]
            if name in location:
                item[f"{prefix}{part}"] = location[name]
    return item


def _deep(item: JSONObject, field: str, prefix: str) -> JSONObject:
    location = {
        part[0].lower() + part[1:]: item.pop(f"{prefix}{part}")
        for part in _LOCATION
        if f"{prefix}{part}" in item
    }
    return {**item, field: location} if location else item


_DETAIL_NAMES = {
    "cpeUri": "affectedCpeUri",
    "package": "affectedPackage",
    "minAffectedVersion": "affectedVersionStart",
    "maxAffectedVersion": "affectedVersionEnd",
}


def _issue_in(item: JSONObject) -> JSONObject:
    item.pop("severityName", None)
    return _flat(_flat(item, "affectedLocation", "affected"), "fixedLocation", "fixed")


def _issue_out(item: JSONObject) -> JSONObject:
    return _deep(_deep(item, "affectedLocation", "affected"), "fixedLocation", "fixed")


def _detail_in(item: JSONObject) -> JSONObject:
    return _renamed(_flat(item, "fixedLocation", "fixed"), _DETAIL_NAMES)


def _detail_out(item: JSONObject) -> JSONObject:
    return _renamed(
        _deep(item, "fixedLocation", "fixed"), {new: old for old, new in _DETAIL_NAMES.items()}
    )


def _build_note_in(value: JSONObject) -> JSONObject:
    value.pop("signature", None)
    return value


def _discovered_in(value: JSONObject) -> JSONObject:
    value.pop("operation", None)
    return _renamed(value, {"lastAnalysisTime": "lastScanTime"})


def _discovered_out(value: JSONObject) -> JSONObject:
    return _renamed(value, {"lastScanTime": "lastAnalysisTime"})


def _discovery_note_in(value: JSONObject) -> JSONObject:
    kind = value.get("analysisKind")
    return {**value, "analysisKind": _V1_KINDS.get(kind, kind)} if isinstance(kind, str) else value


def _attestation_in(value: JSONObject) -> JSONObject:
    """Bring a signed attestation to v1: its signatures as bytes, those that were given."""
    pgp, generic = (
        value.pop("pgpSignedAttestation", None),
        value.pop("genericSignedAttestation", None),
    )
    if isinstance(pgp, Mapping):
        text = pgp.get("signature")
        if not isinstance(text, str) or not text:
            raise ApiError(
                "INVALID_ARGUMENT",
                "attestation.pgpSignedAttestation.signature is missing: give the armour",
            )
        signature = {"signature": base64.b64encode(_signed_bytes(text)).decode()}
        if isinstance(key_id := pgp.get("pgpKeyId"), str) and key_id:
            signature["publicKeyId"] = key_id
        value["signatures"] = [*value.get("signatures", []), signature]
    if isinstance(generic, Mapping):
        value |= {key: item for key, item in generic.items() if key != "contentType"}
    return value


def _attestation_out(value: JSONObject) -> JSONObject:
    signatures = value.get("signatures") or []
    if len(signatures) == 1 and not value.get("serializedPayload"):
        content = base64.b64decode(signatures[0].get("signature", ""))
        if content.startswith(_ARMOUR):
            key = (
                {"pgpKeyId": signatures[0]["publicKeyId"]} if "publicKeyId" in signatures[0] else {}
            )
            return {
                "pgpSignedAttestation": {"signature": content.decode("utf-8", "replace"), **key}
            }
    return {"genericSignedAttestation": value}


def _signed_bytes(text: str) -> bytes:
    """Return the signature in a text: an armour as it is, or one in base64, as `base64 < file` makes it."""
    raw = text.encode()
    if raw.lstrip().startswith(_ARMOUR):
        return raw
    try:
        decoded = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return raw
    return decoded if decoded.startswith(_ARMOUR) else raw


_INTO_V1: dict[tuple[Collection, str], Any] = {
    ("notes", "vulnerability"): lambda value: _mapped(value, "details", _detail_in),
    ("notes", "build"): _build_note_in,
    ("notes", "discovery"): _discovery_note_in,
    ("occurrences", "vulnerability"): lambda value: _mapped(value, "packageIssue", _issue_in),
    ("occurrences", "discovery"): _discovered_in,
    ("occurrences", "attestation"): _attestation_in,
}
_OUT_OF_V1: dict[tuple[Collection, str], Any] = {
    ("notes", "vulnerability"): lambda value: _mapped(value, "details", _detail_out),
    ("occurrences", "vulnerability"): lambda value: _mapped(value, "packageIssue", _issue_out),
    ("occurrences", "discovery"): _discovered_out,
    ("occurrences", "attestation"): _attestation_out,
}
