"""What a CustomResourceDefinition must be like.

What belongs here: defaults and validation of CRDs beyond their types, in kube-apiserver's words. What does not: the
rules of schemas (`operatorkit.crd.Structural.check`), and what follows from an accepted CRD (`crds`).

Source: k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from operatorkit.crd.field_errors import FieldErrors, invalid, not_supported, required
from operatorkit.crd.structural import Structural
from operatorkit.names import DNS_1035_LABEL_PATTERN, dns_label_error

__all__ = ["default_crd", "validate_crd", "warnings_of_crd"]

Object = dict[str, Any]

_LABEL_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)


_API_APPROVED = "api-approved.kubernetes.io"


def default_crd(obj: Object) -> None:
    """Fill in what a CRD may leave out: the singular, the kind of lists, and no conversion."""
    spec = obj.get("spec")
    if not isinstance(spec, dict):
        return
    names = spec.setdefault("names", {})
    if isinstance(names, dict):
        if not names.get("singular") and names.get("kind"):
            names["singular"] = names["kind"].lower()
        if not names.get("listKind") and names.get("kind"):
            names["listKind"] = f"{names['kind']}List"
    if not spec.get("conversion"):
        spec["conversion"] = {"strategy": "None"}


def validate_crd(obj: Mapping[str, Any], old: Mapping[str, Any] | None) -> FieldErrors:
    """Return what is wrong with a CRD."""
    spec = obj.get("spec") or {}
    names = spec.get("names") or {}
    name, expected = (
        obj["metadata"].get("name", ""),
        f"{names.get('plural', '')}.{spec.get('group', '')}",
    )
    if name != expected:
        yield invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    yield from _group_errors(spec.get("group", ""))
    if spec.get("scope") not in {"Namespaced", "Cluster"}:
        if not spec.get("scope"):
            yield required("spec.scope")
        else:
            yield not_supported("spec.scope", spec["scope"], ("Cluster", "Namespaced"))
    yield from _version_errors(spec.get("versions") or ())
    yield from _name_errors(names)
    yield from _schema_errors(spec)
    yield from _presentation_errors(spec.get("versions") or ())
    yield from _approval_errors(obj, old)
    if spec.get("preserveUnknownFields") and not (old or {}).get("spec", {}).get(
        "preserveUnknownFields"
    ):
        text = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        yield invalid("spec.preserveUnknownFields", True, text)
    if old is not None:
        yield from _update_errors(spec, old)


def _group_errors(group: str) -> FieldErrors:
    if not group:
        yield required("spec.group")
    elif "." not in group:
        yield invalid("spec.group", group, "should be a domain with at least one dot")


def _version_errors(versions: Sequence[Mapping[str, Any]]) -> FieldErrors:
    storage = [it["name"] for it in versions if it.get("storage")]
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        if not re.fullmatch(DNS_1035_LABEL_PATTERN, version.get("name", "")):
            yield invalid(f"{path}.name", version.get("name", ""), _LABEL_TEXT)
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            yield required(f"{path}.schema.openAPIV3Schema", "schemas are required")
    repeated = [name for name, count in Counter(it["name"] for it in versions).items() if count > 1]
    if repeated:
        yield invalid("spec.versions", repeated[0], "must contain unique version names")
    if len(storage) != 1:
        yield invalid("spec.versions", [] if versions else None, _ONE_STORAGE)


_ONE_STORAGE = "must have exactly one version marked as storage version"


def _name_errors(names: Mapping[str, Any]) -> FieldErrors:
    for field, mixed_case in (
        ("plural", False),
        ("singular", False),
        ("kind", True),
        ("listKind", True),
    ):
        path = f"spec.names.{field}"
        value = names.get(field, "")
        if not value:
            yield required(path)
        elif not re.fullmatch(DNS_1035_LABEL_PATTERN, value.lower() if mixed_case else value):
            text = (
                f"may have mixed case, but should otherwise match: {_LABEL_TEXT}"
                if mixed_case
                else _LABEL_TEXT
            )
            yield invalid(path, value, text)
    for index, short in enumerate(names.get("shortNames") or ()):
        if dns_label_error(short) or not short[0].isalpha():
            yield invalid(f"spec.names.shortNames[{index}]", short, _LABEL_TEXT)
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        text = "kind and listKind may not be the same"
        yield invalid("spec.names.listKind", names["listKind"], text)


def _schema_errors(spec: Mapping[str, Any]) -> FieldErrors:
    versions = spec.get("versions") or ()
    schemas = [(it.get("schema") or {}).get("openAPIV3Schema") for it in versions]
    same = all(it == schemas[0] for it in schemas)
    for index, schema in enumerate(schemas):
        if not schema:
            continue
        path = "spec.validation" if same else f"spec.versions[{index}].schema"
        yield from Structural(schema).check(f"{path}.openAPIV3Schema")
        if same:
            return


_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")


def _presentation_errors(versions: Sequence[Mapping[str, Any]]) -> FieldErrors:
    """Check columns, selectable fields and scale; what all versions have in common is named as if it stood in spec."""
    for part, check in (
        ("additionalPrinterColumns", _column_errors),
        ("selectableFields", _selectable_errors),
        ("subresources", _scale_errors),
    ):
        same = all(it.get(part) == versions[0].get(part) for it in versions)
        for index, version in enumerate(versions[:1] if same else versions):
            path = f"spec.{part}" if same else f"spec.versions[{index}].{part}"
            yield from check(version.get(part), path)


def _path_errors(path: str, value: str, below: str = "") -> FieldErrors:
    if not value:
        yield required(path)
    elif not value.startswith("."):
        yield invalid(path, value, "must be a simple json path starting with .")
    elif below and not value.startswith(f"{below}."):
        yield invalid(path, value, f"should be a json path under {below}")


def _column_errors(columns: Any, path: str) -> FieldErrors:
    for index, column in enumerate(columns or ()):
        here = f"{path}[{index}]"
        if not column.get("name"):
            yield required(f"{here}.name")
        if column.get("type") not in _COLUMN_TYPES:
            text = f"must be one of {','.join(_COLUMN_TYPES)}"
            type_ = column.get("type")
            yield invalid(f"{here}.type", type_, text) if type_ else required(f"{here}.type", text)
        yield from _path_errors(f"{here}.JSONPath", column.get("jsonPath", ""))


def _selectable_errors(fields: Any, path: str) -> FieldErrors:
    for index, field in enumerate(fields or ()):
        here, value = f"{path}[{index}].jsonPath", field.get("jsonPath", "")
        if not value:
            yield required(here)
        elif not re.fullmatch(r"(\.[A-Za-z_][A-Za-z0-9_-]*)+", value):
            yield invalid(
                here, value, "is an invalid path: it must name one field, for example .spec.colour"
            )


def _scale_errors(subresources: Any, path: str) -> FieldErrors:
    scale = (subresources or {}).get("scale")
    if scale is not None:
        yield from _path_errors(
            f"{path}.scale.specReplicasPath", scale.get("specReplicasPath", ""), ".spec"
        )
        yield from _path_errors(
            f"{path}.scale.statusReplicasPath", scale.get("statusReplicasPath", ""), ".status"
        )


def _approval(obj: Mapping[str, Any]) -> str:
    """Return what the annotation says: `missing`, `invalid`, or that Kubernetes' project agreed or did not."""
    value = (obj["metadata"].get("annotations") or {}).get(_API_APPROVED, "")
    if not value:
        return "missing"
    return "said" if value.startswith(("unapproved", "http://", "https://")) else "invalid"


def _approval_errors(obj: Mapping[str, Any], old: Mapping[str, Any] | None) -> FieldErrors:
    """Keep Kubernetes' own groups for Kubernetes' own kinds."""
    group = (obj.get("spec") or {}).get("group", "")
    if not f".{group}".endswith((".k8s.io", ".kubernetes.io")) or (
        old is not None and _approval(old) == _approval(obj)
    ):
        return
    path, source = (
        f"metadata.annotations[{_API_APPROVED}]",
        "see https://github.com/kubernetes/enhancements/pull/1111",
    )
    text = f'protected groups must have approval annotation "{_API_APPROVED}"'
    match _approval(obj):
        case "missing":
            yield required(path, f"{text}, {source}")
        case "invalid":
            value = obj["metadata"]["annotations"][_API_APPROVED]
            text += f' with either a URL or a reason starting with "unapproved", {source}'
            yield invalid(path, value, text)


def _update_errors(spec: Mapping[str, Any], old: Mapping[str, Any]) -> FieldErrors:
    before = old["spec"]
    immutable = (
        ("group", spec.get("group"), before["group"]),
        ("names.plural", spec["names"].get("plural"), before["names"]["plural"]),
        ("scope", spec.get("scope"), before["scope"]),
        ("names.kind", spec["names"].get("kind"), before["names"]["kind"]),
    )
    established = any(
        it["type"] == "Established" and it["status"] == "True"
        for it in (old.get("status") or {}).get("conditions") or ()
    )
    for field, now, then in immutable:
        if now != then and (established or field in {"group", "names.plural"}):
            yield invalid(f"spec.{field}", now, "field is immutable")
    names = [it["name"] for it in spec.get("versions") or ()]
    for index, stored in enumerate((old.get("status") or {}).get("storedVersions") or ()):
        if stored not in names:
            text = f"missing from spec.versions; {stored} was previously a storage version, and must remain in "
            text += (
                "spec.versions until a storage migration ensures no data remains persisted in "
                + stored
            )
            text += f" and removes {stored} from status.storedVersions"
            yield invalid(f"status.storedVersions[{index}]", stored, text)


def warnings_of_crd(obj: Mapping[str, Any]) -> Iterable[str]:
    """Return what this server does not do, though the CRD asks for it."""
    spec = obj.get("spec") or {}
    for version in spec.get("versions") or ():
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        for path, rule in Structural(schema).rules() if schema else ():
            where = f".{path}" if path else ""
            yield (
                f"the embedded control plane does not evaluate this rule of {spec['names']['kind']} {version['name']}: "
                f"x-kubernetes-validations of self{where}: {' '.join(rule.split())}"
            )
    if (spec.get("conversion") or {}).get("strategy") == "Webhook":
        yield "the embedded control plane does not call conversion webhooks: only apiVersion is changed"
