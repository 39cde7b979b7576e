"""Starting and stopping a real control plane.

What belongs here: the order, the options and the credentials of the three programs. What does not: what holds for one
program alone (`_process`), and where programs come from (`binaries`, `build`).

    etcd (unix socket) <- kube-apiserver (TLS, 127.0.0.1:port) <- kube-controller-manager
"""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from operatorkit.controlplane import _credentials as credentials
from operatorkit.controlplane._ports import ReservedPort
from operatorkit.controlplane._selection import check_selection, enabled
from operatorkit.controlplane.backend import BackendName, StartError
from operatorkit.controlplane.nodes import NodesThread
from operatorkit.controlplane.real._process import Process
from operatorkit.controlplane.real.binaries import VERSION, Binaries, find
from operatorkit.controlplane.real.build import ensure_binaries
from operatorkit.errors import InputError

__all__ = ["RealControlPlane"]

_ADMIN_GROUPS = ("system:masters",)
_POLL_SECONDS = 0.05
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "rules": [{"level": "Metadata"}],
}


class RealControlPlane:
    """Kubernetes' own API server with its etcd and its controllers.

    `controllers` is kube-controller-manager's own list (`*` all, `-name` all but one); an empty one starts none.
    `nodes` is how many simulated nodes there are. `event_ttl` is how long Events are kept. `audit_log` gets one JSON
    line for each request. `binaries` of None finds the programs or builds them.

    Raises InputError when the programs are missing, the port is in use or Kubernetes has no such controller, StartError
    when one of them ends early or is not ready within `timeout`.
    """

    def __init__(
        self,
        *,
        version: str = VERSION,
        port: int = 0,
        event_ttl: timedelta = timedelta(hours=1),
        controllers: str = "*",
        nodes: int = 0,
        audit_log: Path | None = None,
        binaries: Binaries | None = None,
        timeout: timedelta = timedelta(minutes=2),
    ) -> None:
        check_selection(controllers)
        self._version = version
        self._requested_port = port
        self._event_ttl = event_ttl
        self._controllers = controllers
        self._nodes = nodes
        self._audit_log = audit_log
        self._binaries = binaries
        self._timeout = timeout
        self._stack = ExitStack()
        self._processes: list[Process] = []
        self._serving = credentials.Authority.create("operatorkit-serving")
        self._clients = credentials.Authority.create("operatorkit-clients")
        self._tokens = credentials.signing_key()
        self._port: int | None = None
        self._deadline = 0.0

    @property
    def backend(self) -> BackendName:
        """Which kind this is."""
        return "real"

    @property
    def url(self) -> str:
        """Where the API answers."""
        if self._port is None:
            raise RuntimeError(
                "the control plane is not running: enter it as a context manager first"
            )
        return f"https://127.0.0.1:{self._port}"

    @property
    def binaries(self) -> Binaries:
        """The programs in use, kubectl and helm among them."""
        if self._binaries is None:
            found = find(self._version)
            if found is None or (found.kube_controller_manager is None and self._controllers):
                found = ensure_binaries(self._version)
            self._binaries = found
        return self._binaries

    def kubeconfig(
        self,
        *,
        user: str = "admin",
        groups: Sequence[str] = _ADMIN_GROUPS,
        namespace: str = "default",
    ) -> dict[str, Any]:
        """Return a kubeconfig, as a dictionary with all data inline, that authenticates as `user` in `groups`."""
        return credentials.kubeconfig(
            self.url,
            ca_pem=self._serving.cert_pem,
            user=user,
            client=self._clients.issue_client(user, groups),
            namespace=namespace,
        )

    def write_kubeconfig(
        self,
        path: Path,
        *,
        user: str = "admin",
        groups: Sequence[str] = _ADMIN_GROUPS,
        namespace: str = "default",
    ) -> Path:
        """Write `kubeconfig` to `path`, readable by its owner only, and return the path."""
        return credentials.write_kubeconfig(
            path, self.kubeconfig(user=user, groups=groups, namespace=namespace)
        )

    def check(self) -> None:
        """Raise StartError when one of the programs has ended without having been stopped."""
        for process in self._processes:
            process.check()

    def __enter__(self) -> Self:
        binaries = self.binaries
        if self._controllers and binaries.kube_controller_manager is None:
            raise InputError(
                f"kube-controller-manager {binaries.version} is not on this machine: put it next "
                f"to kube-apiserver, or run `python -m operatorkit.controlplane.real install` in "
                f"a checkout of operatorkit"
            )
        self._deadline = time.monotonic() + self._timeout.total_seconds()
        try:
            self._start(binaries)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _start(self, binaries: Binaries) -> None:
        directory = Path(tempfile.mkdtemp(prefix="operatorkit-real-"))
        self._stack.callback(shutil.rmtree, directory, ignore_errors=True)
        port = self._stack.enter_context(ReservedPort(self._requested_port))
        self._port = port.number
        self._stack.callback(self._stop_programs)
        # A socket in the working directory of both: the path of a socket may have 107 bytes only.
        etcd = "unix://client:1"
        self._run(binaries.etcd, _etcd_arguments(directory, etcd), directory, remove=directory)
        self._run(binaries.kube_apiserver, self._apiserver_arguments(directory, etcd), directory)
        self._wait_for("/readyz")
        if self._controllers:
            assert binaries.kube_controller_manager is not None
            arguments = self._controller_arguments(directory, self._controllers)
            self._run(binaries.kube_controller_manager, arguments, directory)
            if enabled("serviceaccount-controller", self._controllers):
                self._wait_for("/api/v1/namespaces/default/serviceaccounts/default")
        if self._nodes:
            user = self.kubeconfig(user="system:simulated-nodes")
            nodes = NodesThread(
                user, count=self._nodes, check=lambda: self._check_start("/api/v1/nodes")
            )
            self._stack.enter_context(nodes)

    def _stop_programs(self) -> None:
        # etcd last: an API server that has lost its store would wait for it.
        for process in self._processes[1:]:
            process.ask_to_stop()
        for process in reversed(self._processes):
            process.stop()
        self._processes.clear()
        self._port = None

    def _run(
        self,
        program: Path,
        arguments: Sequence[str],
        directory: Path,
        *,
        remove: Path | None = None,
    ) -> None:
        self._processes.append(
            Process(program, arguments, log=directory / f"{program.name}.log", remove=remove)
        )

    def _apiserver_arguments(self, directory: Path, etcd: str) -> list[str]:
        serving = self._serving.issue_server()
        kubelets = self._clients.issue_client("kube-apiserver-kubelet-client", ())
        files = {
            "kubelet-client-certificate": kubelets.cert_pem,
            "kubelet-client-key": kubelets.key_pem,
            "client-ca-file": self._clients.cert_pem,
            "tls-cert-file": serving.cert_pem,
            "tls-private-key-file": serving.key_pem,
            "service-account-key-file": self._tokens.cert_pem,
            "service-account-signing-key-file": self._tokens.key_pem,
        }
        if self._audit_log is not None:
            files["audit-policy-file"] = json.dumps(_AUDIT_POLICY).encode()
        options = {
            **{
                option: _write(directory / f"apiserver-{option}", data)
                for option, data in files.items()
            },
            "etcd-servers": etcd,
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "secure-port": str(self._port),
            "permit-port-sharing": "true",
            "endpoint-reconciler-type": "none",
            "cert-dir": str(directory),
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-cluster-ip-range": "10.0.0.0/16",
            "authorization-mode": "RBAC",
            "allow-privileged": "true",
            "enable-aggregator-routing": "true",
            "event-ttl": _go_duration(self._event_ttl),
            "profiling": "false",
        }
        if self._audit_log is not None:
            options["audit-log-path"] = str(self._audit_log)
        return [f"--{option}={value}" for option, value in options.items()]

    def _controller_arguments(self, directory: Path, controllers: str) -> list[str]:
        config = directory / "controllers.kubeconfig"
        self.write_kubeconfig(config, user="system:kube-controller-manager")
        options = {
            "kubeconfig": str(config),
            "controllers": controllers,
            "secure-port": "0",
            "leader-elect": "false",
            "service-account-private-key-file": _write(
                directory / "controllers-tokens.key", self._tokens.key_pem
            ),
            "root-ca-file": _write(directory / "controllers-root.crt", self._serving.cert_pem),
            "cluster-signing-cert-file": _write(
                directory / "controllers-signing.crt", self._clients.cert_pem
            ),
            "cluster-signing-key-file": _write(
                directory / "controllers-signing.key", self._clients.key_pem
            ),
            "kube-api-qps": "500",
            "kube-api-burst": "1000",
            "profiling": "false",
        }
        return [f"--{option}={value}" for option, value in options.items()]

    def _wait_for(self, path: str) -> None:
        """Ask as an administrator until the answer is 200; raise StartError when a program ends or time is up."""
        admin = self._clients.issue_client("operatorkit-launcher", _ADMIN_GROUPS)
        context = ssl.create_default_context(cadata=self._serving.cert_pem.decode())
        with tempfile.TemporaryDirectory(prefix="operatorkit-real-") as directory:
            pair = Path(directory) / "client.pem"
            context.load_cert_chain(credentials.write_private(pair, admin.cert_pem + admin.key_pem))
        while not self._answers(path, context):
            self._check_start(path)
            time.sleep(_POLL_SECONDS)

    def _check_start(self, awaited: str = "/readyz") -> None:
        """Raise StartError when a program has ended, or time is up."""
        self.check()
        if time.monotonic() > self._deadline:
            said = "\n".join(
                f"  {process.name}:\n{process.last_words()}" for process in self._processes
            )
            raise StartError(
                f"{self.url}{awaited} did not answer within {self._timeout}; the end of their "
                f"output:\n{said}"
            )

    def _answers(self, path: str, context: ssl.SSLContext) -> bool:
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self._port, context=context, timeout=5
        )
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _etcd_arguments(directory: Path, client_url: str) -> list[str]:
    # etcd wants host:port even of a socket: a file of that name in its working directory.
    peer_url = "unix://peer:1"
    options = {
        "data-dir": str(directory / "etcd"),
        "listen-client-urls": client_url,
        "advertise-client-urls": client_url,
        "listen-peer-urls": peer_url,
        "initial-advertise-peer-urls": peer_url,
        "initial-cluster": f"default={peer_url}",
        "unsafe-no-fsync": "true",
        "quota-backend-bytes": str(1 << 31),
        "log-level": "warn",
    }
    return [f"--{option}={value}" for option, value in options.items()]


def _write(path: Path, data: bytes) -> str:
    return str(credentials.write_private(path, data))


def _go_duration(duration: timedelta) -> str:
    return f"{duration // timedelta(milliseconds=1)}ms"
