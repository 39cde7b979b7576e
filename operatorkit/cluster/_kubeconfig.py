"""The content of a kubeconfig: its shape, checked before the official package reads it.

What belongs here: which fields there are and of which type, null as Go reads it (absent), and which
context is meant. What does not: certificates, tokens and plugins (`operatorkit.cluster.config`).

The official package answers a wrong type with whatever Python raises, and quotes whole entries,
secrets included.

Source: https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

__all__ = ["choose_context", "read_file", "server_of", "tidy"]

_TEXT, _FLAG, _TEXTS, _MAP, _MAP_OF_TEXTS = (
    "text",
    "true or false",
    "a list of texts",
    "a mapping",
    "a mapping to lists",
)
_ENTRIES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "clusters": (
        "cluster",
        {
            "server": _TEXT,
            "tls-server-name": _TEXT,
            "insecure-skip-tls-verify": _FLAG,
            "certificate-authority": _TEXT,
            "certificate-authority-data": _TEXT,
            "proxy-url": _TEXT,
        },
    ),
    "users": (
        "user",
        {
            "client-certificate": _TEXT,
            "client-certificate-data": _TEXT,
            "client-key": _TEXT,
            "client-key-data": _TEXT,
            "token": _TEXT,
            "tokenFile": _TEXT,
            "username": _TEXT,
            "password": _TEXT,
            "as": _TEXT,
            "as-uid": _TEXT,
            "as-groups": _TEXTS,
            "as-user-extra": _MAP_OF_TEXTS,
            "auth-provider": _MAP,
            "exec": _MAP,
        },
    ),
    "contexts": ("context", {"cluster": _TEXT, "user": _TEXT, "namespace": _TEXT}),
}
_EXEC = {
    "command": _TEXT,
    "apiVersion": _TEXT,
    "args": _TEXTS,
    "installHint": _TEXT,
    "provideClusterInfo": _FLAG,
}


def read_file(path: Path) -> dict[str, Any] | None:
    """Return the content of one file, None if it is empty. Raises ValueError, OSError, and errors of YAML."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    if content is None or isinstance(content, dict):
        return content
    raise ValueError(
        f"it holds a {type(content).__name__}, not a mapping: it should begin with `apiVersion: v1`"
    )


def tidy(content: dict[str, Any]) -> None:
    """Check the shape of a kubeconfig and take nulls for absent, in place.

    Entries may be dictionaries, or nodes of the official package, which are renamed so that its
    messages quote no secret. Raises ValueError, which names the field, what was found and what to
    write.
    """
    for plural, (singular, fields) in _ENTRIES.items():
        entries = content.get(plural)
        if entries is None:
            entries = content[plural] = []
        if not isinstance(entries, list):
            raise ValueError(_wrong(plural, entries, "a list"))  # noqa: TRY004 - as for all errors of the content
        for index, node in enumerate(entries):
            entry = getattr(node, "value", node)
            if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
                found = entry if not isinstance(entry, dict) else entry.get("name")
                text = _wrong(f"{plural}[{index}]", found, "an entry with a `name`, which is text")
                raise ValueError(text)  # noqa: TRY004
            where = f"{plural}[name={entry['name']}]"
            if node is not entry:
                node.name = where
            if entry.get(singular) is None:
                entry[singular] = {}
            _check_fields(entry[singular], f"{where}.{singular}", fields)
    _check_plugins(content)


def choose_context(content: Mapping[str, Any], context: str | None) -> str:
    """Return the name of the context that is meant. Raises ValueError for one that is not there, and names those."""
    chosen = context if context is not None else content.get("current-context")
    names = [entry["name"] for entry in _values(content.get("contexts") or ())]
    known = ", ".join(names) or "none"
    if not chosen and context is None:
        raise ValueError(
            f"no context is chosen: set current-context, or pass --context NAME (there are: {known})"
        )
    if chosen not in names:
        raise ValueError(f"has no context {chosen!r}: it has {known}")
    settings = next(
        entry["context"] for entry in _values(content["contexts"]) if entry["name"] == chosen
    )
    for singular, plural in (("cluster", "clusters"), ("user", "users")):
        wanted, there = (
            settings.get(singular),
            [entry["name"] for entry in _values(content[plural])],
        )
        if (wanted or singular == "cluster") and wanted not in there:
            raise ValueError(
                f"the context {chosen!r} names the {singular} {wanted or ''!r}, which is not under `{plural}` "
                f"({', '.join(there) or 'there are none'})"
            )
    return str(chosen)


def server_of(cluster: Mapping[str, Any]) -> str:
    """Return the URL of a cluster's API, without a slash at its end. Raises ValueError for what is none."""
    server = str(cluster.get("server") or "").strip().rstrip("/")
    scheme, separator, rest = server.partition("://")
    remedy = "write a URL such as https://10.0.0.1:6443"
    if not separator or scheme.lower() not in {"https", "http"}:
        raise ValueError(f"`server` of the cluster is {server!r}: {remedy}")
    try:
        parts = urlsplit(server)
        usable = (
            bool(parts.hostname) and parts.port != 0 and server.isprintable() and " " not in server
        )
    except ValueError as error:
        raise ValueError(f"`server` of the cluster is {server!r} ({error}): {remedy}") from error
    if not usable:
        raise ValueError(f"`server` of the cluster is {server!r}, which names no host: {remedy}")
    return f"{scheme.lower()}://{rest}"


def _values(entries: Sequence[Any]) -> Iterator[dict[str, Any]]:
    for node in entries:
        yield getattr(node, "value", node)


def _check_plugins(content: Mapping[str, Any]) -> None:
    for entry in _values(content["users"]):
        plugin, where = entry["user"].get("exec"), f"users[name={entry['name']}].user.exec"
        if plugin is None:
            continue
        _check_fields(plugin, where, _EXEC)
        for field in ("command", "apiVersion"):
            if not plugin.get(field):
                raise ValueError(f"{where}.{field} is missing: a credential plugin needs it")
        variables = plugin.setdefault("env", [])
        for variable in variables if isinstance(variables, list) else [variables]:
            if not isinstance(variable, dict) or not {"name", "value"} <= variable.keys():
                raise ValueError(f"{where}.env has an entry that is not a name with its value")
            _check_fields(variable, f"{where}.env[]", {"name": _TEXT, "value": _TEXT})


def _check_fields(part: Any, where: str, fields: Mapping[str, str]) -> None:
    if not isinstance(part, dict):
        raise ValueError(_wrong(where, part, _MAP))  # noqa: TRY004
    for name in [name for name, value in part.items() if value is None]:
        del part[name]
    for name, kind in fields.items():
        if name in part and not _fits(part[name], kind):
            raise ValueError(_wrong(f"{where}.{name}", part[name], kind))


def _fits(value: Any, kind: str) -> bool:
    if kind == _TEXT:
        return isinstance(value, str) and "\0" not in value
    if kind == _FLAG:
        return isinstance(value, bool)
    if kind == _MAP:
        return isinstance(value, dict)
    if kind == _TEXTS:
        return isinstance(value, list) and all(_fits(each, _TEXT) for each in value)
    return isinstance(value, dict) and all(
        _fits(key, _TEXT) and _fits(each, _TEXTS) for key, each in value.items()
    )


def _wrong(where: str, found: Any, wanted: str) -> str:
    """Say what is wrong without repeating what may be a secret."""
    quotes = " (in quotes)" if wanted == _TEXT and isinstance(found, bool | int | float) else ""
    return f"{where} is {'missing' if found is None else f'of type {type(found).__name__}'}: write {wanted}{quotes}"
