"""What a field's annotation can say to Kubernetes beyond its Python type.

What belongs here: the values that are put into `Annotated[...]` or given to a class, and what they
mean. What does not: turning them into a schema (`operatorkit.crd.schema`).

    class PoolSpec(Model):
        class_rules = (Rule("self.min <= self.max", message="min must not be above max"),)

        min: Annotated[int, Field(ge=0)] = 0
        max: int = 10
        zone: Annotated[str, immutable()]
        ports: Annotated[list[Port], ListMap("port")] = []
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from operatorkit.crd.text import cel_name
from operatorkit.errors import DefinitionError

__all__ = [
    "Atomic",
    "Embedded",
    "ListMap",
    "ListSet",
    "Nullable",
    "PreserveUnknown",
    "Rule",
    "RuleReason",
    "at_most_one_of",
    "exactly_one_of",
    "immutable",
]

RuleReason = Literal[
    "FieldValueInvalid", "FieldValueForbidden", "FieldValueRequired", "FieldValueDuplicate"
]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule in CEL that the API server evaluates for each write (`x-kubernetes-validations`).

    `rule` sees the value it stands on as `self`, and the stored one as `oldSelf`: naming `oldSelf`
    makes it a transition rule, which is not evaluated on create unless `optional_old_self` is set
    (then `oldSelf` is an optional). `message_expression` is CEL too, and wins over `message`.
    `field_path` (like `.max`) is where the error is reported.

    Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/#validation-rules
    """

    rule: str
    message: str = ""
    message_expression: str = ""
    reason: RuleReason | None = None
    field_path: str = ""
    optional_old_self: bool | None = None


def immutable(message: str = "is immutable") -> Rule:
    """Return the rule that a field, once set, keeps its value.

    On an optional field, setting and removing it stay allowed, because rules of absent values are
    not evaluated: make the field required to close that door.
    """
    return Rule("self == oldSelf", message=message)


def exactly_one_of(*fields: str) -> Rule:
    """Return the class rule that exactly one of these fields (by their names in JSON) is set."""
    return Rule(
        f"[{', '.join(f'has(self.{cel_name(name)})' for name in fields)}].filter(set, set).size() == 1",
        message=f"exactly one of {', '.join(fields)} must be set",
    )


def at_most_one_of(*fields: str) -> Rule:
    """Return the class rule that at most one of these fields (by their names in JSON) is set."""
    return Rule(
        f"[{', '.join(f'has(self.{cel_name(name)})' for name in fields)}].filter(set, set).size() <= 1",
        message=f"at most one of {', '.join(fields)} may be set",
    )


@dataclass(frozen=True, slots=True, init=False)
class ListMap:
    """A list whose items have the fields in `keys` (JSON names) as identity: server-side apply merges by them."""

    keys: tuple[str, ...]

    def __init__(self, *keys: str) -> None:
        """Name the fields. Raises DefinitionError for what is no name."""
        for key in keys:
            if not isinstance(key, str):
                raise DefinitionError(
                    f'ListMap({key!r}): give the names of the fields one by one: ListMap("name")'
                )
        object.__setattr__(self, "keys", keys)


@dataclass(frozen=True, slots=True)
class ListSet:
    """A list of distinct scalars; server-side apply merges it as a set."""


@dataclass(frozen=True, slots=True)
class Atomic:
    """A list or an object that server-side apply replaces as a whole."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """A whole Kubernetes object: `apiVersion`, `kind` and `metadata` are checked by the API server."""


@dataclass(frozen=True, slots=True)
class PreserveUnknown:
    """An object in which the API server keeps fields that the schema does not name."""


@dataclass(frozen=True, slots=True)
class Nullable:
    """The field may be stored as an explicit null; without this, None in Python means absent."""
