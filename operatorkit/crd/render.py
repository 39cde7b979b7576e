"""Manifests as text.

What belongs here: YAML that is the same for the same input, byte for byte. What does not: what is
in the manifests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

__all__ = ["render"]


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and equal parts out again each time."""

    def ignore_aliases(self, data: Any) -> bool:
        del data
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_Dumper.add_representer(str, _text)


def render(manifests: Iterable[Mapping[str, Any]]) -> str:
    """Return manifests as one YAML stream, in the order given, keys as they are."""
    return "".join(
        "---\n"
        + yaml.dump(dict(manifest), Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
        for manifest in manifests
    )
