"""Missing Secrets: which Pods wait for a Secret that no Certificate writes, and which one writes the nearest one.

What belongs here: remembering these Secrets by what the caches hold, as Pods, Secrets and
Certificates change. What does not: the messages for Pods (`operators.pki.report`).

The work is bounded for each change: of a namespace 100 missing Secrets are remembered, and each is
compared with at most 25 names. What is remembered is found again after a restart, when all Pods are
listed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from kubernetes.client.models import V1Pod, V1Secret

from operatorkit.context import Reader
from operatorkit.errors import InvalidObject
from operatorkit.names import ObjectKey
from operators.pki.api import Certificate
from operators.pki.pods import required_secrets
from operators.pki.suggest import differing, distance

__all__ = [
    "INDEX_NAMES",
    "INDEX_WAITING",
    "INDEX_WRITERS",
    "Missing",
    "MissingSecrets",
    "marks",
]

INDEX_WAITING = "waiting"
"""Pods that cannot start without a Secret, by its namespace and name."""
INDEX_WRITERS = "secret"
"""Certificates, by the namespace and name of the Secret that they write."""
INDEX_NAMES = "names"
"""Certificates, by namespace and `marks` of the name of their Secret."""

_MOST_IN_A_NAMESPACE = 100
_MOST_COMPARED = 25
_MARKED = (24, 12, 6)


def marks(name: str) -> list[str]:
    """Return what a name shares with those that resemble it, the rarest first: long beginnings and ends, and "".

    One mistake leaves the half before it or the half after it as it was.
    """
    lengths = [length for length in _MARKED if length <= len(name)]
    return [mark for length in lengths for mark in (f"{name[:length]}*", f"*{name[-length:]}")] + [
        ""
    ]


@dataclass(slots=True)
class Missing:
    """A Secret that Pods wait for and no Certificate writes.

    `certificate` writes `near`, the Secret whose name differs from `name` in the fewest letters
    (`differs`). `since` is when its reconcile saw that first; `confirmed` says that the cluster
    itself has no Secret `name`.
    """

    name: str
    certificate: ObjectKey | None = None
    near: str = ""
    differs: int = 0
    since: datetime | None = None
    confirmed: bool = False

    def choose(self, found: tuple[int, str, ObjectKey] | None) -> None:
        """Take what is nearest; the moment since when the Secret is missing stays."""
        self.differs, self.near, self.certificate = found or (0, "", None)


class MissingSecrets:
    """The missing Secrets of all namespaces. Each method returns the Certificates whose Pods to notify have changed."""

    def __init__(self) -> None:
        self._missing: dict[str, dict[str, Missing]] = {}

    def near(self, certificate: ObjectKey) -> list[Missing]:
        """Return the missing Secrets to which that of a Certificate is the nearest."""
        known = self._missing.get(certificate.namespace)
        return (
            []
            if known is None
            else [one for one in known.values() if one.certificate == certificate]
        )

    def pod_changed(self, pod: V1Pod, reader: Reader) -> Iterator[ObjectKey]:
        """Take note of a Pod that came, started or went."""
        namespace = (pod.metadata and pod.metadata.namespace) or ""
        for name in required_secrets(pod):
            yield from self.look(ObjectKey(namespace, name), reader)

    def certificate_changed(self, certificate: Certificate, reader: Reader) -> Iterator[ObjectKey]:
        """Take note of a Certificate as it is or was: it may write what is missing, or what is nearer."""
        key, secret = (
            certificate.key,
            ObjectKey(certificate.metadata.namespace, certificate.spec.secret_name),
        )
        yield from self.look(secret, reader)
        writes = key in _writers(secret, reader)
        for missing in list(self._missing.get(key.namespace, {}).values()):
            before = missing.certificate
            if before == key and (not writes or missing.near != secret.name):
                missing.choose(_nearest(ObjectKey(key.namespace, missing.name), reader))
            elif writes and before != key:
                found = _ranked(missing.name, secret.name, key)
                if found is not None and (
                    before is None or found < (missing.differs, missing.near, before)
                ):
                    missing.choose(found)
            if missing.certificate != before:
                yield from _both(before, missing.certificate)

    def look(self, secret: ObjectKey, reader: Reader) -> Iterator[ObjectKey]:
        """Take note of whether a Secret is missing now."""
        known = self._missing.get(secret.namespace, {})
        missing = known.get(secret.name)
        if not is_missing(secret, reader):
            if missing is not None:
                self._drop(secret)
                yield from _both(missing.certificate, None)
            return
        if missing is None:
            if len(known) >= _MOST_IN_A_NAMESPACE and not self._tidy(secret.namespace, reader):
                return
            missing = self._missing.setdefault(secret.namespace, {})[secret.name] = Missing(
                secret.name
            )
            missing.choose(_nearest(secret, reader))
        yield from _both(missing.certificate, None)

    def _tidy(self, namespace: str, reader: Reader) -> bool:
        """Forget what is not missing any more; return whether another one fits now."""
        for name in [
            name
            for name in self._missing[namespace]
            if not is_missing(ObjectKey(namespace, name), reader)
        ]:
            self._drop(ObjectKey(namespace, name))
        return len(self._missing.get(namespace, {})) < _MOST_IN_A_NAMESPACE

    def _drop(self, secret: ObjectKey) -> None:
        known = self._missing[secret.namespace]
        del known[secret.name]
        if not known:
            del self._missing[secret.namespace]


def is_missing(secret: ObjectKey, reader: Reader) -> bool:
    """Return whether Pods wait for a Secret that, by what the caches hold, does not exist and that no one writes."""
    if not reader.keys(V1Pod, index=(INDEX_WAITING, str(secret))) or _writers(secret, reader):
        return False
    try:
        return reader.get(V1Secret, secret.name, namespace=secret.namespace) is None
    except InvalidObject:
        return False


def _writers(secret: ObjectKey, reader: Reader) -> list[ObjectKey]:
    return reader.keys(Certificate, index=(INDEX_WRITERS, str(secret)))


def _nearest(secret: ObjectKey, reader: Reader) -> tuple[int, str, ObjectKey] | None:
    """Return in how many letters the name that is nearest to a Secret's differs, the name, and who writes it."""
    best: tuple[int, str, ObjectKey] | None = None
    for key in _candidates(secret, reader):
        try:
            certificate = reader.get(Certificate, key.name, namespace=key.namespace)
        except InvalidObject:
            continue
        found = (
            _ranked(secret.name, certificate.spec.secret_name, key)
            if certificate is not None
            else None
        )
        if found is not None and (best is None or found < best):
            best = found
    return best


def _candidates(secret: ObjectKey, reader: Reader) -> list[ObjectKey]:
    """Return at most 25 Certificates of the namespace, those first whose Secrets begin or end like this one."""
    chosen: dict[ObjectKey, None] = {}
    for mark in marks(secret.name):
        found = reader.keys(Certificate, index=(INDEX_NAMES, f"{secret.namespace}/{mark}"))
        space = _MOST_COMPARED - len(chosen)
        space = (
            (space + 1) // 2 if mark else space
        )  # a common beginning leaves space for a rarer end
        middle = bisect_left(found, secret)
        first = max(0, min(middle - space // 2, len(found) - space))
        chosen |= dict.fromkeys(found[first : first + space])
        if len(chosen) >= _MOST_COMPARED:
            break
    return list(chosen)


def _ranked(name: str, other: str, key: ObjectKey) -> tuple[int, str, ObjectKey] | None:
    """Rank a candidate; None for one that differs in more than half of the letters."""
    limit = max(1, len(name) // 2)
    if abs(len(name) - len(other)) > limit:
        return None
    differs = distance(*differing(name, other))
    return (differs, other, key) if 0 < differs <= limit else None


def _both(one: ObjectKey | None, other: ObjectKey | None) -> Iterable[ObjectKey]:
    return [key for key in (one, other) if key is not None]
