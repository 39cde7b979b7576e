"""Which media type, and which form of an object, a client wants to be answered with.

What belongs here: the Accept and Content-Type headers. What does not: the representations (`endpoints`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import yaml

from operatorkit.controlplane.embedded.errors.errors import (
    bad_request,
    not_acceptable,
    unsupported_media_type,
)
from operatorkit.controlplane.embedded.serializer import protobuf, syntax

__all__ = ["JSON_AND_YAML", "PATCH_TYPES", "Form", "media_type", "negotiate", "read_body"]

_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")
_MAX_VALUES = 1_000_000
JSON_AND_YAML = ("application/json", "application/yaml")
PATCH_TYPES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
View = Literal["object", "table", "metadata", "discovery"]
_VIEWS: dict[tuple[str, str], View] = {
    ("Table", "meta.k8s.io"): "table",
    ("PartialObjectMetadata", "meta.k8s.io"): "metadata",
    ("PartialObjectMetadataList", "meta.k8s.io"): "metadata",
    ("APIGroupDiscoveryList", "apidiscovery.k8s.io"): "discovery",
}


_VERSIONS: dict[View, tuple[str, ...]] = {
    "table": ("v1", "v1beta1"),
    "metadata": ("v1", "v1beta1"),
    "discovery": ("v2",),
}


@dataclass(frozen=True, slots=True)
class Form:
    """How to answer: the media type, and what to make of objects."""

    media: str = "application/json"
    view: View = "object"
    version: str = ""  # of the view

    @property
    def yaml(self) -> bool:
        """Whether the answer is to be YAML."""
        return self.media == "application/yaml"


def _clauses(accept: str) -> list[tuple[str, dict[str, str]]]:
    clauses = []
    for clause in accept.split(","):
        media, *parameters = (part.strip() for part in clause.split(";"))
        pairs = (parameter.partition("=") for parameter in parameters)
        clauses.append(
            (media.lower(), {key.strip(): value.strip().strip('"') for key, _, value in pairs})
        )
    return clauses


@lru_cache(maxsize=256)
def negotiate(
    accept: str, views: frozenset[str] = frozenset({"object", "table", "metadata"})
) -> Form:
    """Return the first acceptable form. Raises `ApiError` (406) where there is none."""
    for media, parameters in _clauses(accept or "*/*"):
        if media in {"*/*", ""}:
            media = JSON_AND_YAML[0]  # noqa: PLW2901 - the clause stands for it
        if media not in JSON_AND_YAML:
            continue
        if "as" not in parameters:
            if "object" in views:
                return Form(media)
            continue
        view = _VIEWS.get((parameters["as"], parameters.get("g", "")))
        version = parameters.get("v", "")
        if view in views and version in _VERSIONS[view]:
            return Form(media, view, version)
    raise not_acceptable(JSON_AND_YAML)


def media_type(content_type: str) -> str:
    """Return a Content-Type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def read_body(
    data: bytes, content_type: str, *, prefix: str = "couldn't get version/kind; json parse error: "
) -> Any:
    """Decode a body of JSON, YAML or protobuf; objects remember which of their fields were there twice (`codec.loads`).

    `prefix` stands before the description of an error in JSON.
    Raises `ApiError`: 415 for another media type, 400 for what is not that media type.
    """
    media = media_type(content_type) or "application/json"
    if media == protobuf.MEDIA_TYPE:
        try:
            return protobuf.decode(data)
        except ValueError as error:
            raise bad_request(str(error)) from None
    if media not in {*JSON_AND_YAML, *PATCH_TYPES}:
        raise unsupported_media_type([*JSON_AND_YAML, protobuf.MEDIA_TYPE])
    try:
        text = data.decode(errors="replace")
        if media.endswith("yaml"):
            return _read_yaml(text)
        return _read_json(text)
    except RecursionError:
        raise bad_request("exceeded max depth") from None
    except yaml.YAMLError as error:
        raise bad_request(
            f"error converting YAML to JSON: yaml: {getattr(error, 'problem', None) or error}"
        ) from None
    except (ValueError, TypeError) as error:  # TypeError: YAML that says what JSON cannot
        raise bad_request(f"{prefix}{error}") from error


def _read_json(text: str) -> Any:
    value = syntax.loads(text)
    return _mended(value) if _HALF_CHARACTER.search(text) else value


def _mended(value: Any) -> Any:
    """Return a value whose texts have whole characters only, as Go reads them: halves become U+FFFD."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case dict():
            return {_mended(key): _mended(inner) for key, inner in value.items()}
        case list():
            return [_mended(inner) for inner in value]
    return value


def _read_yaml(text: str) -> Any:
    try:
        return _read_json(text)  # most clients send JSON under YAML's name
    except ValueError:
        value = next(
            yaml.load_all(text, Loader=_YAML), None
        )  # of several documents the first counts
    if _weight(value, {}) > _MAX_VALUES:
        raise bad_request(
            "error converting YAML to JSON: yaml: document contains excessive aliasing"
        )
    return _read_json(json.dumps(value))


def _weight(value: Any, known: dict[int, int]) -> int:
    """Return how many values a document has, each alias counted as what it stands for; infinitely many in a circle."""
    if not isinstance(value, dict | list):
        return 1
    found = known.get(id(value))
    if found is None:
        known[id(value)] = _MAX_VALUES + 1  # what it weighs for those inside it
        children = value.values() if isinstance(value, dict) else value
        found = known[id(value)] = 1 + sum(_weight(child, known) for child in children)
    return found


class _YAML(yaml.SafeLoader):
    """YAML as JSON has it: dates stay text."""

    yaml_implicit_resolvers = {
        first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
