"""Which objects of a kind an operator caches: by label, by field and by namespace.

What belongs here: the filter as a value, checked when it is made. What does not: how much of each object is cached
(`Operator.cache`), and the lists and watches that a filter limits (`operatorkit._runtime`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from operatorkit.errors import DefinitionError
from operatorkit.names import dns_label_error

__all__ = ["CacheFilter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheFilter:
    """The objects with all these labels and these values of fields, and of this namespace, if there is one.

    Raises DefinitionError for what no selector can have.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)
    namespace: str | None = None

    def __post_init__(self) -> None:
        for option, values in (("labels", self.labels), ("fields", self.fields)):
            for name, value in values.items():
                if not name or re.search(r"[,=!()\s]", name + value):
                    raise DefinitionError(
                        f"{option}={{{name!r}: {value!r}}}: a selector has no blanks, and none of , = ! ( )"
                    )
        error = None if self.namespace is None else dns_label_error(self.namespace)
        if error is not None:
            raise DefinitionError(f"namespace={self.namespace!r}: the name {error}")

    def __bool__(self) -> bool:
        return bool(self.labels or self.fields or self.namespace)

    @property
    def label_selector(self) -> str:
        """The labels as the query parameter `labelSelector` has them."""
        return ",".join(f"{name}={value}" for name, value in self.labels.items())

    @property
    def field_selector(self) -> str:
        """The fields as the query parameter `fieldSelector` has them."""
        return ",".join(f"{name}={value}" for name, value in self.fields.items())
