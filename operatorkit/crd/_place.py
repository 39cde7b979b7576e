"""Where in a class the schema generator is: every module of it names the place in its errors."""

from __future__ import annotations

from dataclasses import dataclass, replace

from operatorkit.errors import DefinitionError

__all__ = ["Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a class the generator is, for messages, and how it shall work.

    `owner` is the class that is being defined, `path` the field in it, `models` those it is inside
    of. `official` says whether models of the official client are written out.
    """

    owner: str
    path: str = ""
    models: tuple[type, ...] = ()
    official: bool = True

    def below(self, name: str) -> Place:
        """Return the place of a field."""
        return replace(self, path=f"{self.path}.{name}" if self.path else name)

    def at(self, suffix: str) -> Place:
        """Return the place of items or values."""
        return replace(self, path=f"{self.path}{suffix}")

    def error(self, found: str, remedy: str) -> DefinitionError:
        """Return the error that names class, field, what was found and what to write instead."""
        field = f", field {self.path}" if self.path else ""
        return DefinitionError(f"{self.owner}{field}: {found}: {remedy}")
