"""The chart's policy for Secrets, in a real API server: it bounds what the operator writes, and nobody else.

The embedded control plane stores such policies and evaluates none, so this is asked of a real one only.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from operatorkit.controlplane.real import RealControlPlane
from operatorkit.testing import eventually

CHART = Path(__file__).resolve().parents[2] / "charts" / "pki"
SYSTEM = "pki-system"
ACCOUNT = f"system:serviceaccount:{SYSTEM}:pki"
KINDS = {"ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "ServiceAccount"}
POLICY = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}


@pytest.fixture(scope="module")
def controlplane(binaries) -> Iterator[Any]:
    with RealControlPlane() as plane:
        yield plane


@pytest.fixture(scope="module")
def admin(controlplane, kubectl_class, binaries, tmp_path_factory) -> Any:
    home = tmp_path_factory.mktemp("kubectl")
    path = home / "kubeconfig"
    path.write_text(yaml.safe_dump(controlplane.kubeconfig()))
    return kubectl_class(binaries.kubectl, path, home)


@pytest.fixture(scope="module")
def installed(helm, admin) -> None:
    """The chart's account, its roles and its policy; Secrets called team-... may be written."""
    options = ("--set", "secretPolicy.enabled=true", "--set", "secretPolicy.names={team-.*}")
    done = helm("template", "pki", CHART, "--namespace", SYSTEM, *options)
    assert done.returncode == 0, done.stderr
    found = [one for one in yaml.safe_load_all(done.stdout) if one and one["kind"] in KINDS | POLICY]
    assert {one["kind"] for one in found} >= POLICY | {"ClusterRole"}
    for namespace in (SYSTEM, "team"):
        admin("create", "namespace", namespace)
    admin("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(found))
    admin("create", "secret", "generic", "team-old", "--namespace", "team")
    for name, kind in (("team-token", "kubernetes.io/service-account-token"), ("team-odd", "example.io/odd")):
        admin("apply", "--namespace", "team", "-f", "-", stdin=secret(name, kind))


def secret(name: str, kind: str, **data: str) -> str:
    metadata = {"name": name, "annotations": {"kubernetes.io/service-account.name": "default"}}
    return yaml.safe_dump(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": kind, "stringData": data}
    )


TLS = {"tls.crt": "x", "tls.key": "x"}
WRITTEN = {
    "a certificate": ("team", "team-a", "kubernetes.io/tls", TLS, None),
    "data": ("team", "team-b", "Opaque", {}, None),
    "its own certificates": (SYSTEM, "pki-webhook-tls", "kubernetes.io/tls", TLS, None),
    "the token of another account": (
        "team",
        "team-c",
        "kubernetes.io/service-account-token",
        {},
        "the operator pki may not write Secrets of type kubernetes.io/service-account-token: they are credentials",
    ),
    "a bootstrap token": (
        "team",
        "team-d",
        "bootstrap.kubernetes.io/token",
        {},
        "may not write Secrets of type bootstrap.kubernetes.io/token",
    ),
    "a type that is not listed": (
        "team",
        "team-e",
        "example.io/odd",
        {},
        "may not write Secrets of type example.io/odd: the value secretPolicy.types",
    ),
    "a name that is not listed": (
        "team",
        "other-team-a",
        "Opaque",
        {},
        "may not write a Secret called other-team-a: the value secretPolicy.names",
    ),
}


async def in_force(admin) -> None:
    """Return when the API server has compiled the policy, and knows the roles."""

    def denied() -> bool:
        text = secret("team-probe", "kubernetes.io/service-account-token")
        done = admin.run(
            "apply", "--server-side", "--namespace=team", "--dry-run=server", f"--as={ACCOUNT}", "-f", "-", stdin=text
        )
        return "may not write" in done.stderr

    await eventually(denied, timeout=60, message="the policy is in force")


@pytest.mark.parametrize("what", WRITTEN)
async def test_the_operator_writes_the_secrets_that_the_policy_has_and_no_other(installed, admin, what):
    namespace, name, kind, data, rejection = WRITTEN[what]
    await in_force(admin)
    text = secret(name, kind, **data)
    where = ("--server-side", "--dry-run=server", f"--namespace={namespace}", "-f", "-")
    if rejection is None:
        admin("apply", f"--as={ACCOUNT}", *where, stdin=text)
    else:
        assert rejection in admin.fails("apply", f"--as={ACCOUNT}", *where, stdin=text)
    admin("apply", *where, stdin=text)  # the policy is for the operator alone


@pytest.mark.parametrize(("name", "allowed"), [("team-old", True), ("team-token", False), ("team-odd", False)])
async def test_what_it_may_not_write_it_may_not_change_or_delete_either(installed, admin, name, allowed):
    await in_force(admin)
    patch = ("patch", "secret", name, "--namespace=team", "-p", '{"stringData": {"a": "b"}}', "--dry-run=server")
    delete = ("delete", "secret", name, "--namespace=team", "--dry-run=server")
    for arguments in (patch, delete):
        if allowed:
            admin(*arguments, f"--as={ACCOUNT}")
        else:
            assert "may not write" in admin.fails(*arguments, f"--as={ACCOUNT}")
