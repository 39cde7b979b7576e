"""Kinds of third parties without a class of one's own: objects as they are, with no schema.

What belongs here: making such a class of an apiVersion and a kind. What does not: typed classes of third-party kinds
(`Resource`, with external=True), which know the fields that one needs.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Self

from operatorkit.crd.model import Model
from operatorkit.errors import DefinitionError
from operatorkit.names import GroupVersionKind
from operatorkit.resource import Resource

__all__ = ["AnyFields", "Unstructured", "UnstructuredObject"]


class AnyFields(Model):
    """A spec or a status without a schema: its fields are attributes, under their JSON names, with JSON values."""

    if TYPE_CHECKING:

        def __init__(self, **fields: Any) -> None: ...

        def __getattr__(self, name: str) -> Any: ...

    else:

        def __new__(cls, *_: Any, **__: Any) -> Self:
            """Take any field: there is none that could be misspelt."""
            return super().__new__(cls)

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field by its JSON name, or `default` where it is absent."""
        return (self.__pydantic_extra__ or {}).get(name, default)


class UnstructuredObject(Resource[AnyFields, AnyFields]):
    """The base of the classes that `Unstructured` returns."""


def Unstructured(  # noqa: N802 - it stands where a class does
    api_version: str, kind: str, *, plural: str = "", namespaced: bool = True
) -> type[UnstructuredObject]:
    """Return the class of a kind that a third party defines, to be used wherever a kind is asked for.

    `plural` is the name in URLs, by default an English plural of the kind. Spec and status have any fields, as JSON:

        ServiceMonitor = Unstructured("monitoring.coreos.com/v1", "ServiceMonitor")
        monitor = ServiceMonitor(metadata=ObjectMeta(name="a"), spec=AnyFields(endpoints=[{"port": "web"}]))

    It is external: never installed or packaged, and fields that were read are sent only if they were changed. Equal
    arguments give the same class.

    Raises DefinitionError for an apiVersion without a group, since Kubernetes' own kinds are in
    kubernetes.client.models, and for names that cannot be.
    """
    return _class(api_version, kind, plural, namespaced)


@functools.cache
def _class(api_version: str, kind: str, plural: str, namespaced: bool) -> type[UnstructuredObject]:
    named = GroupVersionKind.of(api_version, kind)
    if not named.group or not named.version or not kind.isidentifier():
        raise DefinitionError(
            f"Unstructured({api_version!r}, {kind!r}): write GROUP/VERSION and the kind, such as "
            f'Unstructured("monitoring.coreos.com/v1", "ServiceMonitor"); kinds of the core group are in '
            f"kubernetes.client.models"
        )

    class Made(
        UnstructuredObject,
        group=named.group,
        version=named.version,
        kind=kind,
        plural=plural,
        scope="Namespaced" if namespaced else "Cluster",
        external=True,
    ):
        """An object of a kind that a third party defines."""

    Made.__name__ = Made.__qualname__ = kind
    return Made
