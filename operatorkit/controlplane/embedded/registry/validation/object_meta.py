"""What holds for the metadata of every custom resource.

What belongs here: the types and the rules of ObjectMeta. What does not: the rules of names of one kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from operatorkit.controlplane.embedded.scheme import codec
from operatorkit.controlplane.embedded.scheme.decode_error import DecodeError
from operatorkit.crd.field_errors import FieldErrors, forbidden, invalid, required, too_long
from operatorkit.crd.golang import Struct
from operatorkit.crd.kubernetes import definitions
from operatorkit.names import DNS_SUBDOMAIN_PATTERN, GroupVersionKind

__all__ = ["decode", "key_texts", "normalize", "validate", "value_texts", "warnings"]

Object = dict[str, Any]

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{DNS_SUBDOMAIN_PATTERN}')"
)
_LABEL_NAME = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_NAME_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    f"character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_LABEL_NAME}')"
)
_LABEL_KEY_TEXT = (
    _LABEL_NAME_TEXT.replace("name part must", "a valid label key must", 1)
    + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
)
_LABEL_VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'{_LABEL_VALUE}')"
)
_OMITTED_EMPTY = frozenset(
    {
        "annotations",
        "finalizers",
        "generateName",
        "labels",
        "managedFields",
        "ownerReferences",
        "selfLink",
    }
)
_STANDARD_FINALIZERS = frozenset({"foregroundDeletion", "kubernetes", "orphan"})
_ANNOTATIONS_MAX_BYTES = 256 * 1024


def _strings(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(it, str | None) for it in value.values())


def _list_of(kind: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(isinstance(it, kind) for it in value)


_TYPES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "labels": (_strings, "map[string]string"),
    "annotations": (_strings, "map[string]string"),
    "finalizers": (_list_of(str), "[]string"),
    "ownerReferences": (_list_of(dict), "[]v1.OwnerReference"),
    "managedFields": (_list_of(dict), "[]v1.ManagedFieldsEntry"),
    "generation": (lambda value: isinstance(value, int), "int64"),
    "deletionGracePeriodSeconds": (lambda value: isinstance(value, int), "int64"),
}


def decode(obj: Object, gvk: GroupVersionKind, unknown: list[str]) -> None:
    """Check the types of an object's metadata, and take out and report what it does not have.

    Raises DecodeError.
    """
    meta = obj.setdefault("metadata", {})
    if not isinstance(meta, dict):
        raise DecodeError(gvk, "", "v1.ObjectMeta", codec.json_type(meta))
    known = definitions()[_OBJECT_META]["properties"]
    for key in list(meta):
        value = meta[key]
        if key not in known:
            unknown.append(f"metadata.{key}")
            del meta[key]
        elif value is None:
            del meta[key]
        else:
            holds, go_type = _TYPES.get(key, (lambda it: isinstance(it, str), "string"))
            if not holds(value):
                inner = (
                    next((it for it in value.values() if not isinstance(it, str | None)), value)
                    if (isinstance(value, dict))
                    else value
                )
                expected = go_type if inner is value else "string"
                raise DecodeError(gvk, f"ObjectMeta.{key}", expected, codec.json_type(inner))


def normalize(obj: Object) -> None:
    """Write the metadata of an object as a server does: what is empty is left out, and no text is null. In place."""
    meta = obj.get("metadata")
    if not isinstance(meta, dict):
        return
    for name in ("labels", "annotations"):
        if isinstance(meta.get(name), dict):
            meta[name] = {key: "" if value is None else value for key, value in meta[name].items()}
    for name in [
        key for key, value in meta.items() if value in (None, "", {}, []) and key in _OMITTED_EMPTY
    ]:
        del meta[name]


def validate(
    obj: Object, old: Object | None, *, namespaced: bool, builtin: bool = False
) -> FieldErrors:
    """Return what is wrong with an object's metadata, in the order and the words of kube-apiserver.

    The names of built-in kinds have rules of their own, which are checked elsewhere.
    """
    meta = obj["metadata"]
    name = meta.get("name", "")
    if meta.get("generateName"):
        yield from _name_errors("metadata.generateName", meta["generateName"].rstrip("-."))
    if not builtin:
        if not name:
            yield required("metadata.name", "name or generateName is required")
        elif old is None:
            yield from _name_errors("metadata.name", name)
    if namespaced and not meta.get("namespace"):
        yield required("metadata.namespace")
    yield from _label_errors(meta.get("labels") or {})
    yield from _annotation_errors(meta.get("annotations") or {})
    yield from _owner_errors(meta.get("ownerReferences") or ())
    yield from _finalizer_errors(meta, old, builtin=builtin)


def _name_errors(path: str, name: str) -> FieldErrors:
    if len(name) > 253:
        yield invalid(path, name, "must be no more than 253 characters")
    elif not re.fullmatch(DNS_SUBDOMAIN_PATTERN, name):
        yield invalid(path, name, _SUBDOMAIN_TEXT)


def key_texts(key: str) -> Iterable[str]:
    """Return what is wrong with the key of a label or an annotation, or the name of a finalizer."""
    prefix, slash, name = key.partition("/") if "/" in key else ("", "", key)
    if "/" in name:
        yield _LABEL_KEY_TEXT
        return
    if slash and not re.fullmatch(DNS_SUBDOMAIN_PATTERN, prefix):
        yield f"prefix part {_SUBDOMAIN_TEXT}"
    if not name:
        yield "name part must be non-empty"
    elif len(name) > 63:
        yield "name part must be no more than 63 bytes"
    if not re.fullmatch(_LABEL_NAME, name):
        yield _LABEL_NAME_TEXT


def value_texts(value: str) -> Iterable[str]:
    """Return what is wrong with the value of a label."""
    if len(value) > 63:
        yield "must be no more than 63 bytes"
    if not re.fullmatch(_LABEL_VALUE, value):
        yield _LABEL_VALUE_TEXT


def _invalid(path: str, value: str, texts: Iterable[str]) -> FieldErrors:
    return (invalid(path, value, text) for text in texts)


def _label_errors(labels: Mapping[str, str]) -> FieldErrors:
    path = "metadata.labels"
    for key, value in labels.items():
        yield from _invalid(path, key, key_texts(key))
        yield from _invalid(path, value, value_texts(value))


def _annotation_errors(annotations: Mapping[str, str]) -> FieldErrors:
    path = "metadata.annotations"
    for key in annotations:
        yield from _invalid(
            path, key, key_texts(key.lower())
        )  # upper case is allowed in prefixes, too
    if (
        sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
        > _ANNOTATIONS_MAX_BYTES
    ):
        yield too_long(path, _ANNOTATIONS_MAX_BYTES)


def _owner_errors(references: Sequence[Object]) -> FieldErrors:
    path = "metadata.ownerReferences"
    for reference in references:
        if not reference.get("apiVersion"):
            yield invalid(f"{path}.apiVersion", "", "version must not be empty")
        for field in ("kind", "name", "uid"):
            if not reference.get(field):
                yield invalid(f"{path}.{field}", "", "must not be empty")
        if (reference.get("apiVersion"), reference.get("kind")) == ("v1", "Event"):
            text = "/v1, Kind=Event is disallowed from being an owner"
            yield invalid(path, Struct(reference), text)
    controllers = [
        f"{it.get('kind', '')}/{it.get('name', '')}" for it in references if it.get("controller")
    ]
    if len(controllers) > 1:
        text = (
            "Only one reference can have Controller set to true. "
            f'Found "true" in references for {controllers[0]} and {controllers[1]}'
        )
        yield invalid(path, [Struct(it) for it in references], text)


def _finalizer_errors(meta: Object, old: Object | None, *, builtin: bool) -> FieldErrors:
    finalizers: Sequence[str] = meta.get("finalizers") or ()
    for finalizer in finalizers:
        yield from _invalid("metadata.finalizers", finalizer, key_texts(finalizer))
    for index, finalizer in enumerate(finalizers if builtin else ()):
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            text = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid(f"metadata.finalizers[{index}]", finalizer, text)
    if {"orphan", "foregroundDeletion"} <= set(finalizers):
        text = "finalizer orphan and foregroundDeletion cannot be both set"
        yield invalid("metadata.finalizers", ["orphan", "foregroundDeletion"], text)
    if old is not None and "deletionTimestamp" in old["metadata"]:
        added = sorted(set(finalizers) - set(old["metadata"].get("finalizers") or ()))
        if added:
            names = ", ".join(f'"{it}"' for it in added)
            text = "no new finalizers can be added if the object is being deleted, found new finalizers "
            yield forbidden("metadata.finalizers", f"{text}[]string{{{names}}}")


def warnings(obj: Object, old: Object | None) -> Sequence[str]:
    """Return what kube-apiserver warns of: finalizers whose names are not qualified."""
    before = set((old or {}).get("metadata", {}).get("finalizers") or ())
    return [
        f'metadata.finalizers: "{it}": prefer a domain-qualified finalizer name '
        f"{'including a path (/) ' if '.' in it else ''}to avoid accidental conflicts with other finalizer writers"
        for it in obj["metadata"].get("finalizers") or ()
        if "/" not in it and it not in before and it not in {"orphan", "foregroundDeletion"}
    ]
