"""Names: of kinds, of objects, and of the labels and annotations that operatorkit writes.

What belongs here: group-version-kind and what an API server calls it in URLs, the rules that
Kubernetes has for names, the shortening of names that grew too long, and every operatorkit.dev key.
What does not: schemas of kinds (`operatorkit.crd`) and classes of them (`operatorkit.resource`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

__all__ = [
    "ANNOTATION_OWNER",
    "ANNOTATION_PAUSED",
    "ANNOTATION_PRUNE",
    "ANNOTATION_RECONCILE_AT",
    "DNS_1035_LABEL_PATTERN",
    "DNS_LABEL_MAX_LENGTH",
    "DNS_LABEL_PATTERN",
    "DNS_SUBDOMAIN_MAX_LENGTH",
    "DNS_SUBDOMAIN_PATTERN",
    "KOPF_PREFIX",
    "LABEL_OWNER_UID",
    "PREFIX",
    "ApiResource",
    "GroupVersionKind",
    "ObjectKey",
    "dns_label_error",
    "dns_subdomain_error",
    "shorten",
]

PREFIX = "operatorkit.dev"
LABEL_OWNER_UID = f"{PREFIX}/owner-uid"
ANNOTATION_PAUSED = f"{PREFIX}/paused"
ANNOTATION_RECONCILE_AT = f"{PREFIX}/reconcile-at"
ANNOTATION_OWNER = f"{PREFIX}/owner"
ANNOTATION_PRUNE = f"{PREFIX}/prune"
KOPF_PREFIX = f"kopf.{PREFIX}"

DNS_LABEL_MAX_LENGTH = 63
DNS_SUBDOMAIN_MAX_LENGTH = 253
DNS_LABEL_PATTERN = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
DNS_1035_LABEL_PATTERN = "[a-z]([-a-z0-9]*[a-z0-9])?"
DNS_SUBDOMAIN_PATTERN = rf"{DNS_LABEL_PATTERN}(\.{DNS_LABEL_PATTERN})*"
"""Patterns of names, without anchors; the lengths above are limits beside them.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
"""


@dataclass(frozen=True, slots=True, order=True)
class GroupVersionKind:
    """The full name of a kind. The core group is the empty string, as Kubernetes has it."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        """`v1` for the core group, `group/version` for all others."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @classmethod
    def of(cls, api_version: str, kind: str) -> GroupVersionKind:
        """Split an object's `apiVersion`."""
        group, _, version = api_version.rpartition("/")
        return cls(group, version, kind)

    def __str__(self) -> str:
        return (
            f"{self.kind}.{self.version}.{self.group}"
            if self.group
            else f"{self.kind}.{self.version}"
        )


@dataclass(frozen=True, slots=True, order=True)
class ApiResource:
    """A kind as an API server serves it: what is needed to build its URLs and to name it in messages and RBAC."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def gvk(self) -> GroupVersionKind:
        """The full name of the kind."""
        return GroupVersionKind(self.group, self.version, self.kind)

    @property
    def api_version(self) -> str:
        """`v1` for the core group, `group/version` for all others."""
        return self.gvk.api_version

    @property
    def root(self) -> str:
        """The URL path below which the kind is served, for example `/apis/apps/v1`."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def qualified(self) -> str:
        """The name that error messages and CRDs use: `deployments.apps`, or `pods` in the core group."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(
        self,
        name: str | None = None,
        *,
        namespace: str | None = None,
        subresource: str | None = None,
    ) -> str:
        """Return the URL path of the collection, or of one object of it, or of a subresource of that."""
        parts = [self.root]
        if namespace is not None and self.namespaced:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name is not None:
            parts.append(name)
        if subresource is not None:
            parts.append(subresource)
        return "/".join(parts)


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """An object within its kind: the namespace (empty for cluster-scoped kinds) and the name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


def dns_label_error(text: str) -> str | None:
    """Say what is wrong with `text` as a DNS label (RFC 1123), or None when nothing is."""
    if len(text) > DNS_LABEL_MAX_LENGTH:
        return f"must be no more than {DNS_LABEL_MAX_LENGTH} characters, this has {len(text)}"
    if not re.fullmatch(DNS_LABEL_PATTERN, text):
        return "must consist of lower case letters, digits and '-', and start and end with a letter or digit"
    return None


def dns_subdomain_error(text: str) -> str | None:
    """Say what is wrong with `text` as a DNS subdomain (RFC 1123), or None when nothing is."""
    if len(text) > DNS_SUBDOMAIN_MAX_LENGTH:
        return f"must be no more than {DNS_SUBDOMAIN_MAX_LENGTH} characters, this has {len(text)}"
    if not re.fullmatch(DNS_SUBDOMAIN_PATTERN, text):
        return "must consist of lower case letters, digits, '-' and '.', and start and end with a letter or digit"
    return None


def shorten(name: str, max_length: int = DNS_LABEL_MAX_LENGTH) -> str:
    """Return `name`, or, when it is longer than `max_length`, its beginning and a hash of the whole.

    Guarantees: equal names give equal results, and different long names give different ones but for
    a collision of 40 bits of SHA-256. `max_length` must be at least 12.
    """
    if len(name) <= max_length:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:10]
    return f"{name[: max_length - 11].rstrip('-.')}-{digest}"
