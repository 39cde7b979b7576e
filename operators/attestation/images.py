"""Image references and the patterns of policies, normalised once.

What belongs here: from the text of a Pod, an occurrence or a signed payload to one normal form, and whether a pattern
matches it. What does not: registries (a tag is resolved elsewhere) and policy. Pure.

The normal form decides which policy applies, so every spelling that reaches the same registry has the same form: the
default registry and its `library/`, the other names of Docker Hub, upper-case hosts and the port that https implies.
The grammar is that of distribution/reference; digests are stricter: complete, lower case, sha256, sha384 or sha512.

Source: https://github.com/distribution/reference/blob/main/reference.go
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from operatorkit.errors import InputError

__all__ = [
    "DEFAULT_REGISTRY",
    "ImagePattern",
    "ImageReference",
    "ImageReferenceError",
    "check_digest",
    "parse_image",
    "parse_pattern",
    "parse_resource_uri",
]

DEFAULT_REGISTRY: Final = "docker.io"

_HUB_HOSTS = frozenset(
    {"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}
)
_DEFAULT_PORT = ":443"
_SCHEMES = ("https://", "http://", "docker://", "oci://")
_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}
_MAX_NAME = 255
_MAX_TEXT = 2048

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{{1,5}})?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HEX = re.compile(r"[0-9a-f]+")
_PATTERN_HOST = re.compile(r"[A-Za-z0-9.*-]+(?::[0-9]{1,5})?")
_PATTERN_COMPONENT = re.compile(r"[a-z0-9._*-]+")


class ImageReferenceError(InputError):
    """A text is not an image reference, or not one that can be trusted; the message has the value and the remedy."""


@dataclass(frozen=True, slots=True)
class ImageReference:
    """One image: `registry` (host, with a port unless it is 443), `repository`, and a tag, a digest, or both.

    With a digest, the tag is only a remark: the digest decides what runs.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @property
    def name(self) -> str:
        """Registry and repository: `docker.io/library/nginx`."""
        return f"{self.registry}/{self.repository}"

    @property
    def pinned(self) -> str | None:
        """Name and digest, without the tag; None for a reference without a digest."""
        return None if self.digest is None else f"{self.name}@{self.digest}"

    def without_tag(self) -> ImageReference:
        """Return the reference by digest alone, or by name alone."""
        return replace(self, tag=None)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        digest = f"@{self.digest}" if self.digest is not None else ""
        return f"{self.name}{tag}{digest}"


@lru_cache(maxsize=4096)
def parse_image(text: str) -> ImageReference:
    """Return the normal form of an image reference as Pods have it. Raises ImageReferenceError.

    A reference without tag and digest keeps neither: what a runtime adds (`latest`) is not in the text.
    """
    if not text:
        raise ImageReferenceError(
            "the image is empty: give a reference such as registry.example/app@sha256:..."
        )
    if len(text) > _MAX_TEXT:
        raise ImageReferenceError(
            f"the image {_shown(text)} has {len(text)} characters: at most {_MAX_TEXT} are read"
        )
    name, at, digest = text.partition("@")
    if at:
        check_digest(digest, where=text)
    name, tag = _split_tag(name, text)
    registry, repository = _split_name(name, text)
    if len(registry) + 1 + len(repository) > _MAX_NAME:
        raise ImageReferenceError(
            f"the name of image {_shown(text)} is longer than {_MAX_NAME} characters: shorten it"
        )
    return ImageReference(registry, repository, tag, digest if at else None)


def parse_resource_uri(text: str) -> ImageReference:
    """Return the image that a Grafeas resource URI names: `https://gcr.io/app@sha256:...`, or without the scheme.

    Raises ImageReferenceError; also for a URI without a digest: a tag says nothing about what was signed.
    """
    rest = next((text[len(scheme) :] for scheme in _SCHEMES if text.startswith(scheme)), text)
    image = parse_image(rest)
    if image.digest is None:
        raise ImageReferenceError(
            f"the resource {_shown(text)} has no digest: write it as "
            f"https://{image.name}@sha256:..., because a tag can move to another image"
        )
    return image


def check_digest(digest: str, *, where: str = "") -> None:
    """Raise ImageReferenceError for a digest that is short, upper case, or of an unknown algorithm."""
    algorithm, colon, encoded = digest.partition(":")
    subject = f"the digest {_shown(digest)}" + (f" of image {_shown(where)}" if where else "")
    known = ", ".join(_DIGEST_LENGTHS)
    if not colon or algorithm.lower() not in _DIGEST_LENGTHS:
        raise ImageReferenceError(
            f"{subject} has no known algorithm ({known}): write it as sha256:<64 hex digits>"
        )
    if digest != digest.lower():
        raise ImageReferenceError(
            f"{subject} has upper-case letters: write {_shown(digest.lower())}"
        )
    length = _DIGEST_LENGTHS[algorithm]
    if len(encoded) != length or _HEX.fullmatch(encoded) is None:
        raise ImageReferenceError(
            f"{subject} is not {length} hexadecimal digits (it has {len(encoded)} characters after the colon): give "
            "the complete digest, as the registry or `docker inspect` shows it"
        )


def _split_tag(name: str, text: str) -> tuple[str, str | None]:
    """Split at the colon after the last slash: one before it is a port."""
    head, slash, last = name.rpartition("/")
    base, colon, tag = last.partition(":")
    if not colon:
        return name, None
    if (
        not slash and base.lower() == "localhost" and tag.isdigit()
    ):  # localhost:5000 is a registry, without an image
        raise ImageReferenceError(
            f"the image {_shown(text)} is a registry without a repository: add /<repository>"
        )
    if _TAG.fullmatch(tag) is None:
        raise ImageReferenceError(
            f"the tag {_shown(tag)} of image {_shown(text)} is invalid: use letters, digits, '_', '.' and '-', at most "
            "128 characters, beginning with a letter, a digit or '_'"
        )
    return f"{head}{slash}{base}", tag


def _split_name(name: str, text: str) -> tuple[str, str]:
    """Return registry and repository in normal form."""
    first, slash, rest = name.partition("/")
    if slash and _is_host(first):
        if _HOST.fullmatch(first) is None:
            raise ImageReferenceError(
                f"the registry {_shown(first)} of image {_shown(text)} is not a host name, or a host name and a port"
            )
        registry, repository = _normal_host(first), rest
    else:
        registry, repository = DEFAULT_REGISTRY, name
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        repository = f"library/{repository}"
    for component in repository.split("/"):
        if _COMPONENT.fullmatch(component) is None:
            raise ImageReferenceError(_bad_component(component, text))
    return registry, repository


def _bad_component(component: str, text: str) -> str:
    if component != component.lower() and _COMPONENT.fullmatch(component.lower()):
        return (
            f"the repository of image {_shown(text)} has upper-case letters in {_shown(component)}: write "
            f"{_shown(component.lower())}"
        )
    return (
        f"the part {_shown(component)} of image {_shown(text)} is invalid: use lower-case letters and digits, with "
        "'.', '_', '__' or '-' between them"
    )


def _is_host(first: str) -> bool:
    """Return whether the part before the first slash is a registry, by the rule that docker has.

    With one exception: for docker, an upper-case part is one too. Its lower-case form would not be: it is rejected.
    """
    return any(mark in first for mark in ".:[") or first.lower() == "localhost"


def _normal_host(host: str) -> str:
    host = host.lower().removesuffix(_DEFAULT_PORT)
    return DEFAULT_REGISTRY if host in _HUB_HOSTS else host


def _shown(value: str) -> str:
    return repr(value) if len(value) <= 120 else f"{value[:117]!r}..."


# Patterns ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ImagePattern:
    """A pattern over names: `*` stands for any characters within one part, `**` also crosses `/`.

    `specificity` orders patterns: of those that match an image, the greatest is the most specific one.
    """

    text: str
    regex: re.Pattern[str]
    specificity: tuple[int, int, int]

    def matches(self, image: ImageReference) -> bool:
        """Return whether the pattern matches the name of the image, its registry included; tags and digests do not."""
        return self.regex.fullmatch(image.name) is not None


@lru_cache(maxsize=1024)
def parse_pattern(text: str) -> ImagePattern:
    """Return a pattern in normal form. Raises ImageReferenceError.

    A pattern without a registry is one of Docker Hub, as for images, unless its first part has a wildcard:
    `nginx` is `docker.io/library/nginx`, `**` is every image, `*/team/**` every registry.
    """
    if "@" in text:
        raise ImageReferenceError(
            f"the pattern {_shown(text)} has a digest, but patterns match names: remove "
            f"{text[text.index('@') :]!r}"
        )
    first, slash, rest = text.partition("/")
    if "*" in first and (slash or "." not in first):
        registry, repository = ("", text) if first == "**" else (first.lower(), rest)
        if not slash and first != "**":  # one part: a repository of Docker Hub's library
            registry, repository = DEFAULT_REGISTRY, f"library/{text}"
    elif slash and _is_host(first):
        registry, repository = _normal_host(first), rest
    else:
        registry, repository = DEFAULT_REGISTRY, text if slash else f"library/{text}"
    if registry == DEFAULT_REGISTRY and "/" not in repository and repository != "**":
        repository = f"library/{repository}"
    if registry and _PATTERN_HOST.fullmatch(registry) is None:
        raise ImageReferenceError(
            f"the registry {_shown(registry)} of pattern {_shown(text)} is not a host name"
        )
    for part in repository.split("/"):
        if _PATTERN_COMPONENT.fullmatch(part) is None or "***" in part:
            raise ImageReferenceError(
                f"the part {_shown(part)} of pattern {_shown(text)} is invalid: use lower-case letters, digits, '.', "
                "'_', '-', and '*' or '**' as wildcards; tags do not belong in a pattern"
            )
    full = f"{registry}/{repository}" if registry else repository
    literal = full.replace("*", "")
    specificity = (
        sum("*" not in part for part in full.split("/")),
        len(literal),
        -full.count("**"),
    )
    return ImagePattern(full, re.compile(_expression(full)), specificity)


def _expression(pattern: str) -> str:
    parts = re.split(r"(\*\*|\*)", pattern)
    return "".join({"**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts)
