"""Someone who speaks to a control plane in a test, without an event loop.

What belongs here: a user's kubeconfig, and plain requests with it. What does not: the client of
operators (`operatorkit.cluster`).
"""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from operatorkit.controlplane.backend import ControlPlane

__all__ = ["Answer", "User", "headers_of", "ssl_context_of"]

JSONObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said: the HTTP status, the headers by lower-case name, and the body as text."""

    status: int
    headers: Mapping[str, str]
    text: str
    warnings: tuple[str, ...] = ()

    @property
    def json(self) -> Any:
        """The body, decoded. Raises AssertionError, with the body, when it is not JSON."""
        try:
            return json.loads(self.text)
        except ValueError:
            raise AssertionError(
                f"expected JSON, got HTTP {self.status}: {self.text[:500]!r}"
            ) from None


@dataclass(frozen=True, slots=True)
class User:
    """A user of a control plane: name, groups, kubeconfig."""

    name: str
    groups: tuple[str, ...]
    kubeconfig: JSONObject = field(repr=False)

    @classmethod
    def of(
        cls,
        controlplane: ControlPlane,
        name: str = "admin",
        *,
        groups: Sequence[str] = ("system:masters",),
        namespace: str = "default",
    ) -> User:
        """Return a user of `controlplane`; the name need not be known to it before."""
        kubeconfig = controlplane.kubeconfig(user=name, groups=tuple(groups), namespace=namespace)
        return cls(name, tuple(groups), kubeconfig)

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return str(_current(self.kubeconfig, "cluster")["server"]).rstrip("/")

    def request(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send one request on a connection of its own and return the answer, whatever its status."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(  # noqa: S310 - the scheme comes from our own kubeconfig
            self.server + path,
            data=data,
            method=method,
            headers={
                "Accept": "application/json",
                **({"Content-Type": "application/json"} if data is not None else {}),
                **headers_of(self.kubeconfig),
                **(headers or {}),
            },
        )
        context = ssl_context_of(self.kubeconfig)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            *([urllib.request.HTTPSHandler(context=context)] if context else []),
        )
        try:
            with opener.open(request, timeout=30) as answer:
                return _answer(answer.status, answer.headers, answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return _answer(error.code, error.headers, error.read())


def headers_of(kubeconfig: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers that authenticate, or impersonate, the current user of a kubeconfig."""
    user = _current(kubeconfig, "user")
    headers = {}
    if "token" in user:
        headers["Authorization"] = f"Bearer {user['token']}"
    if "as" in user:
        headers["Impersonate-User"] = str(user["as"])
    return headers


def ssl_context_of(kubeconfig: Mapping[str, Any]) -> ssl.SSLContext | None:
    """Return the TLS settings of a kubeconfig whose data are inline; None for plain HTTP."""
    cluster, user = _current(kubeconfig, "cluster"), _current(kubeconfig, "user")
    if not cluster["server"].startswith("https:"):
        return None
    context = ssl.create_default_context(cadata=_text(cluster, "certificate-authority"))
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = _text(user, "client-certificate"), _text(user, "client-key")
    if certificate and key:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(certificate + "\n" + key)
            file.flush()
            context.load_cert_chain(file.name)
    return context


def _current(kubeconfig: Mapping[str, Any], part: str) -> JSONObject:
    contexts = {entry["name"]: entry["context"] for entry in kubeconfig["contexts"]}
    context = contexts[kubeconfig["current-context"]]
    found: JSONObject = next(
        entry[part] for entry in kubeconfig[f"{part}s"] if entry["name"] == context[part]
    )
    return found


def _text(section: Mapping[str, Any], name: str) -> str | None:
    if f"{name}-data" in section:
        return base64.b64decode(section[f"{name}-data"]).decode()
    if name in section:
        return Path(section[name]).read_text(encoding="utf-8")
    return None


def _answer(status: int, headers: Any, body: bytes) -> Answer:
    return Answer(
        status,
        {name.lower(): value for name, value in headers.items()},
        body.decode(errors="replace"),
        tuple(headers.get_all("Warning") or ()),
    )
