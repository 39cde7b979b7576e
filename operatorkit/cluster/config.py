"""Where the API server is and who we are: kubeconfig files and the service account of a pod.

What belongs here: `ClusterConfig`, `Credentials`, and loading both with the official `kubernetes`
package (imported on the first call, because it is slow to import and most commands need no
cluster). What does not: connections (`operatorkit.cluster.client`).
"""

from __future__ import annotations

import asyncio
import copy
import logging
import os
import ssl
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from operatorkit.cluster._kubeconfig import choose_context, read_file, server_of, tidy
from operatorkit.cluster.trust import FollowingContext
from operatorkit.errors import InputError

__all__ = ["ClusterConfig", "Credentials", "load_config"]

_SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_TOKEN_FILE_SECONDS: Final = 10.0  # a token file is read again when what was read is so old
_log = logging.getLogger("operatorkit.cluster")


Headers = tuple[tuple[str, str], ...]


class Credentials:
    """The headers that prove who we are, kept fresh.

    `load` returns them, with the seconds for which they are good (None: until the server rejects
    them), and puts any client certificate into the SSL context. It may block (it reads files and
    runs plugins), so it runs in a thread.
    """

    def __init__(
        self,
        headers: Headers = (),
        load: Callable[[], tuple[Headers, float | None]] | None = None,
        *,
        good_for_seconds: float | None = None,
    ) -> None:
        self._headers = headers
        self._load = load
        self._good_for = good_for_seconds
        self._loaded_at: float | None = None
        self._lock: asyncio.Lock | None = None

    @property
    def refreshable(self) -> bool:
        """Whether loading again may give other headers."""
        return self._load is not None

    async def headers(self, *, now: float) -> Headers:
        """Return the headers of a request; `now` is a monotonic clock's reading in seconds.

        When they are old and cannot be loaded again, that is logged and the old ones are returned:
        they may still do.
        """
        if self._loaded_at is None:
            self._loaded_at = now
        if self._good_for is not None and now - self._loaded_at >= self._good_for:
            try:
                await self.refresh(self._headers, now=now)
            except InputError as error:
                _log.warning("%s; using the previous ones", error)
                self._loaded_at = now
        return self._headers

    async def refresh(self, used: Headers, *, now: float) -> bool:
        """Load again, unless that happened since `used` was handed out; say whether the headers differ from `used`.

        Raises InputError when the files or the plugin fail.
        """
        if self._load is None:
            return False
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._headers == used:
                self._headers, self._good_for = await asyncio.to_thread(self._load)
                self._loaded_at = now
        return self._headers != used


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """All that is needed to talk to one API server as one user.

    `origin` says where this comes from, for messages: `context kind-dev of /home/me/.kube/config`.
    """

    server: str
    namespace: str = "default"
    ssl_context: ssl.SSLContext | None = None
    credentials: Credentials = field(default_factory=Credentials)
    tls_server_name: str | None = None
    proxy: str | None = None
    origin: str = "given by the program"


def load_config(
    kubeconfig: Path | str | Mapping[str, Any] | None = None, context: str | None = None
) -> ClusterConfig:
    """Find the cluster: the given kubeconfig, else $KUBECONFIG, else the pod's service account, else ~/.kube/config.

    `kubeconfig` is a file, or the content of one. Raises InputError, which names the file, the
    entry and the remedy.
    """
    if isinstance(kubeconfig, Mapping):
        return _from_mapping(dict(kubeconfig), context)
    if kubeconfig is not None:
        return _from_files(str(kubeconfig), context)
    if os.environ.get("KUBECONFIG"):
        return _from_files(os.environ["KUBECONFIG"], context)
    if (
        context is None
        and os.environ.get("KUBERNETES_SERVICE_HOST")
        and (_SERVICE_ACCOUNT / "token").exists()
    ):
        return _from_service_account()
    return _from_files("~/.kube/config", context)


def _from_files(paths: str, context: str | None) -> ClusterConfig:
    existing = [
        path for path in paths.split(os.pathsep) if path and Path(path).expanduser().is_file()
    ]
    if not existing:
        if Path(paths).expanduser().is_dir():
            raise InputError(
                f"{paths} is a directory: name the file with --kubeconfig or $KUBECONFIG"
            )
        raise InputError(
            f"no kubeconfig at {paths}: name one with --kubeconfig or $KUBECONFIG, or start a "
            f"control plane with `operatorkit controlplane up`"
        )

    from kubernetes.config import kube_config

    origin = os.pathsep.join(existing)
    try:
        contents = {path: read_file(Path(path).expanduser()) for path in existing}
        for content in contents.values():
            tidy(content or {})
        merged = kube_config.KubeConfigMerger(
            os.pathsep.join(path for path in existing if contents[path])
        ).config
    except OSError as error:
        raise InputError(f"the kubeconfig {origin} cannot be read: {error.strerror}") from error
    except Exception as error:
        raise InputError(f"the kubeconfig {origin} cannot be read: {_first_line(error)}") from error
    if merged is None:
        raise InputError(f"the kubeconfig {origin} is empty: it should begin with `apiVersion: v1`")
    chosen = [
        content["current-context"]
        for content in contents.values()
        if content and content.get("current-context")
    ]
    merged.value["current-context"] = next(
        iter(chosen), None
    )  # as kubectl: the first file that says it wins
    return _from_node(merged, context, origin)


def _from_mapping(content: dict[str, Any], context: str | None) -> ClusterConfig:
    from kubernetes.config import kube_config

    content = copy.deepcopy(content)
    return _from_node(
        kube_config.ConfigNode("kubeconfig", content), context, "the kubeconfig given"
    )


def _loaded(node: Any, context: str | None, directory: str) -> tuple[Any, Any]:
    """Return the official package's loader and configuration; it writes the certificates it finds to `directory`."""
    from kubernetes.client import Configuration
    from kubernetes.config import kube_config

    loader = kube_config.KubeConfigLoader(
        node, active_context=context, config_base_path=None, temp_file_path=directory
    )
    configuration = Configuration()
    configuration.proxy = None
    loader.load_and_set(configuration)
    return loader, configuration


def _from_node(node: Any, context: str | None, origin: str) -> ClusterConfig:
    """Build the configuration from a `ConfigNode` of the official package, which resolves relative paths."""
    from kubernetes.config import ConfigException

    try:
        tidy(node.value)
        context = choose_context(node.value, context)
    except ValueError as error:
        text = str(error)
        raise InputError(
            f"{origin} {text}" if text.startswith("has ") else f"{origin}: {text}"
        ) from error
    load = partial(_loaded, node, context)
    with tempfile.TemporaryDirectory(prefix="operatorkit-") as directory:
        try:
            loader, configuration = load(directory)
            chosen = loader.current_context
            settings, user = chosen.get("context") or {}, _plain(loader._user)  # noqa: SLF001 - no public access
            _reject_failed_plugin(loader, configuration, user)
            server = server_of(_plain(loader._cluster))  # noqa: SLF001
            ssl_context = (
                _ssl_context(configuration, directory) if server.startswith("https://") else None
            )
            proxy = _proxy(server, configuration.proxy)
        except (ConfigException, OSError, ValueError, TypeError, AttributeError, KeyError) as error:
            raise InputError(f"{origin}: {_first_line(error)}") from error

    where = f"context {chosen.get('name')} (user {settings.get('user')}) of {origin}"
    impersonation = _impersonation(user)

    def reload() -> tuple[Headers, float | None]:
        with tempfile.TemporaryDirectory(prefix="operatorkit-") as again:
            try:
                fresh_loader, fresh = load(again)
                _reject_failed_plugin(fresh_loader, fresh, user)
                if ssl_context is not None and fresh.cert_file:
                    ssl_context.load_cert_chain(fresh.cert_file, fresh.key_file)
            except (ConfigException, OSError, ValueError) as error:
                raise InputError(
                    f"the credentials of {where} cannot be renewed: {_first_line(error)}"
                ) from error
        return _authorization(fresh) + impersonation, _good_for_seconds(fresh_loader, user)

    renews = bool(user.keys() & {"exec", "auth-provider", "tokenFile", "client-certificate"})
    return ClusterConfig(
        server=server,
        namespace=str(settings.get("namespace") or "default"),
        ssl_context=ssl_context,
        credentials=Credentials(
            _authorization(configuration) + impersonation,
            reload if renews else None,
            good_for_seconds=_good_for_seconds(loader, user),
        ),
        tls_server_name=configuration.tls_server_name or None,
        proxy=proxy,
        origin=where,
    )


def _from_service_account() -> ClusterConfig:
    from kubernetes.client import Configuration
    from kubernetes.config import ConfigException, load_incluster_config

    configuration = Configuration()
    try:
        load_incluster_config(client_configuration=configuration)
        ssl_context = _ssl_context(configuration)
    except (ConfigException, OSError) as error:
        raise InputError(
            f"the service account of this pod cannot be used: {_first_line(error)}"
        ) from error

    def reload() -> tuple[Headers, float | None]:
        try:
            return _bearer((_SERVICE_ACCOUNT / "token").read_text()), _TOKEN_FILE_SECONDS
        except OSError as error:
            raise InputError(
                f"the token of this pod's service account cannot be read: {error}"
            ) from error

    namespace_file = _SERVICE_ACCOUNT / "namespace"
    return ClusterConfig(
        server=configuration.host,
        namespace=namespace_file.read_text().strip() if namespace_file.exists() else "default",
        ssl_context=ssl_context,
        credentials=Credentials(reload()[0], reload, good_for_seconds=_TOKEN_FILE_SECONDS),
        origin="the service account of this pod",
    )


def _ssl_context(configuration: Any, temporary: str = "") -> ssl.SSLContext:
    """Trust what the configuration trusts, and nothing else; hold its client certificate.

    A file of authorities is followed, unless it lies in `temporary`: then it is the content of the
    kubeconfig.
    """
    make = partial(_context_that_trusts, verify=bool(configuration.verify_ssl))
    authorities = configuration.ssl_ca_cert
    if authorities and not (temporary and Path(authorities).is_relative_to(temporary)):
        context: ssl.SSLContext = FollowingContext(Path(authorities), make)
    else:
        context = make(authorities)
    if configuration.cert_file:
        if not configuration.key_file:
            raise ValueError("the user has `client-certificate` but no `client-key`")
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


def _context_that_trusts(authorities: str | None, *, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authorities or None)
    # Python 3.13 rejects authorities without key usage; clusters have such authorities, and Go accepts them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _proxy(server: str, configured: str | None) -> str | None:
    """Return the proxy of the kubeconfig, else that of the environment, which never applies to this machine."""
    host = urlsplit(server).hostname or ""
    proxy = configured
    if (
        not proxy
        and host not in {"localhost", "::1"}
        and not host.startswith("127.")
        and not proxy_bypass(host)
    ):
        proxy = getproxies().get(urlsplit(server).scheme)
    if proxy and not proxy.startswith(("http://", "https://")):
        raise ValueError(
            f"the proxy {proxy!r} cannot be used: only http:// and https:// proxies are supported"
        )
    return proxy or None


def _reject_failed_plugin(loader: Any, configuration: Any, user: Mapping[str, Any]) -> None:
    """Raise what went wrong in a credential plugin: the official package only logs it."""
    if "exec" not in user or configuration.api_key.get("BearerToken") or configuration.cert_file:
        return
    from kubernetes.config.exec_provider import ExecProvider

    command = (user["exec"] or {}).get("command")
    try:
        ExecProvider(loader._user["exec"], None, loader._cluster).run()  # noqa: SLF001
    except Exception as error:
        raise ValueError(
            f"the credential plugin {command!r} failed: {_first_line(error)}"
        ) from error
    raise ValueError(
        f"the credential plugin {command!r} returned neither a token nor a certificate with its key"
    )


def _authorization(configuration: Any) -> Headers:
    value = configuration.api_key.get("BearerToken")
    if not value:
        return ()
    kind, _, rest = value.partition(" ")
    return _bearer(rest) if kind.lower() == "bearer" else (("Authorization", value),)


def _bearer(token: str) -> Headers:
    return (("Authorization", f"Bearer {token.strip()}"),)


def _impersonation(user: Mapping[str, Any]) -> Headers:
    headers = [("Impersonate-User", str(user["as"]))] if user.get("as") else []
    if user.get("as-uid"):
        headers.append(("Impersonate-Uid", str(user["as-uid"])))
    headers += [("Impersonate-Group", str(group)) for group in user.get("as-groups") or ()]
    for key, values in (user.get("as-user-extra") or {}).items():
        headers += [(f"Impersonate-Extra-{quote(key, safe='')}", str(value)) for value in values]
    return tuple(headers)


def _good_for_seconds(loader: Any, user: Mapping[str, Any]) -> float | None:
    """Say for how long credentials are to be used: for plugins, until a fifth of their time is left."""
    if "tokenFile" in user:
        return _TOKEN_FILE_SECONDS
    expiry = getattr(loader, "expiry", None)
    if expiry is None:
        return None
    from datetime import UTC, datetime

    return max(1.0, float((expiry - datetime.now(UTC)).total_seconds()) * 0.8)


def _plain(node: Any) -> dict[str, Any]:
    value = getattr(node, "value", node)
    return value if isinstance(value, dict) else {}


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    return " ".join(line.strip() for line in text.splitlines() if line.strip())
