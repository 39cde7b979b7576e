"""The rights that charts/pki gives are those that pki uses: no more, and no less.

The chart is installed in a real cluster that keeps an audit log. The scenarios of pki run there with the operator
authenticated by a token of the chart's ServiceAccount; the log then tells what it was allowed, and what it did.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from operatorkit._runtime.admission import AtService
from operatorkit.cluster import LiveCluster, load_config
from operatorkit.controlplane.real import RealControlPlane
from operatorkit.testing import FakeClock, eventually
from operatorkit.testing.running import running
from operatorkit.testing.user import User
from operatorkit.webhooks import ServiceReference, configuration_name
from operatorkit.webhooks.certificates import LEAF_LIFE
from operatorkit.webhooks.manifests import CONFIGURATIONS
from operators.pki import app

ROOT = Path(__file__).resolve().parents[2]
UNUSED = Path(__file__).with_name("unused_grants.txt")
SYSTEM, NAME = "pki-system", "pki"
IDENTITY = f"system:serviceaccount:{SYSTEM}:{NAME}"
SCENARIOS = ("test_pki_errors.py", "test_pki_issuing.py")
MOST_UNUSED = 5
READY = "pki is ready; it reconciles"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2000)]

Grant = tuple[str, str]
"""A verb, and a resource as `certificates/status.pki.operatorkit.dev`."""


def qualified(group: str, resource: str) -> str:
    return f"{resource}.{group}" if group else resource


def granted(manifests: Iterable[dict[str, Any]]) -> set[Grant]:
    return {
        (verb, qualified(group, resource))
        for one in manifests
        if one and one["kind"] in {"ClusterRole", "Role"}
        for rule in one["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return what the ServiceAccount asked for, once it was decided; a line may be in the making."""
    lines = path.read_text().splitlines(keepends=True)
    entries = [json.loads(line) for line in lines if line.endswith("\n")]
    return [one for one in entries if one["user"]["username"] == IDENTITY and one["stage"] != "RequestReceived"]


def used(log: Iterable[dict[str, Any]]) -> set[Grant]:
    found = set()
    for one in log:
        reference = one.get("objectRef")
        if reference is None:
            continue
        name = "/".join(filter(None, (reference["resource"], reference.get("subresource"))))
        resource = qualified(reference.get("apiGroup", ""), name)
        found.add((one["verb"], resource))
        if one["verb"] == "patch" and (one.get("responseStatus") or {}).get("code") == 201:
            found.add(("create", resource))  # an apply of what was not there is authorised as both
    return found


def argued() -> dict[Grant, str]:
    lines = [line for line in UNUSED.read_text().splitlines() if not line.startswith("#")]
    parts = [line.partition(": ") for line in lines]
    return {(grant.split()[0], grant.split()[1]): reason for grant, _, reason in parts}


def test_the_list_of_unused_grants_is_short_and_argued():
    assert len(argued()) <= MOST_UNUSED
    assert all(len(reason.split()) >= 5 for reason in argued().values())


@pytest.fixture(scope="module")
def audited(helm, tmp_path_factory):
    """A real control plane, and its audit log."""
    folder = tmp_path_factory.mktemp("audited")
    with RealControlPlane(nodes=1, audit_log=folder / "audit.log") as plane:
        yield plane, folder / "audit.log"


@pytest.fixture(scope="module")
def manifests(audited, helm, tmp_path_factory) -> list[dict[str, Any]]:
    """Install both charts, without a Pod, and return what the operator's holds."""
    kubeconfig = audited[0].write_kubeconfig(tmp_path_factory.mktemp("administrator") / "kubeconfig")

    def reported(*arguments: str) -> str:
        done = helm(*arguments, kubeconfig=kubeconfig)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = ("--namespace", SYSTEM, "--create-namespace", "--wait", "--timeout", "300s")
    reported("install", "pki-crds", str(ROOT / "charts" / "pki-crds"), *where)
    reported("install", NAME, str(ROOT / "charts" / "pki"), "--set", "replicas=0", *where)
    return list(yaml.safe_load_all(reported("get", "manifest", NAME, "--namespace", SYSTEM)))


@pytest.fixture(scope="module")
def service_account(audited, manifests, tmp_path_factory) -> Path:
    """A kubeconfig with nothing but a token of the chart's ServiceAccount."""
    assert any(one["kind"] == "ServiceAccount" for one in manifests)
    path = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/{NAME}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
    answer = User.of(audited[0]).request("POST", path, request)
    assert answer.status == 201, answer.text
    config = audited[0].kubeconfig()
    config["users"][0]["user"] = {"token": answer.json["status"]["token"]}
    target = tmp_path_factory.mktemp("service-account") / "kubeconfig"
    target.write_text(yaml.safe_dump(config))
    return target


@pytest.fixture(scope="module")
def start(service_account) -> tuple[int, list[str]]:
    """Start the operator with leader election, stop it once it is ready; return its exit code and its log.

    Whichever test is the first: the grants of the Lease are used here alone.
    """
    options = ["--kubeconfig", str(service_account), "--leader-elect", "--own-namespace", SYSTEM]
    command = [sys.executable, "-m", "operatorkit", "run", "pki", *options]
    lines = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            lines.append(line)
            if READY in line:
                process.terminate()
    return process.returncode, lines


def test_the_operator_starts_with_the_rights_of_its_chart(start):
    """Its own check at the start names what is missing in all namespaces: nothing is."""
    code, lines = start
    assert code == 0, "".join(lines)
    assert any(READY in line for line in lines), "".join(lines)


def lead_to(port: int) -> dict[str, Any]:
    """Return endpoints of the chart's Service, for a Pod that is a process on this machine.

    An API server takes no address of its own machine; one that is written as a name it takes.
    """
    return {
        "metadata": {"name": "pki-webhook-here", "labels": {"kubernetes.io/service-name": "pki-webhook"}},
        "addressType": "FQDN",
        "endpoints": [{"addresses": ["127.0.0.1"]}],
        "ports": [{"name": "webhooks", "port": port}],
    }


async def serve_webhooks(service_account: Path, admin: User, port: int) -> None:
    """Serve the webhooks of pki behind its chart's Service, also beyond the life of their first certificate.

    In the end their registration is removed: the scenarios that follow register their own.
    """
    service = ServiceReference(namespace=SYSTEM, name="pki-webhook")
    secret = f"/api/v1/namespaces/{SYSTEM}/secrets/{service.secret_name}"
    registrations = [
        f"{resource.path()}/{configuration_name(NAME, service=service)}"
        for verb, resource in CONFIGURATIONS.items()
        if any(webhook.verb == verb for webhook in app.webhooks)
    ]
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{SYSTEM}/endpointslices"
    assert admin.request("POST", slices, lead_to(port)).status == 201
    clock = FakeClock(start=datetime.now(UTC) - LEAF_LIFE * 0.7)  # the API server has a clock of its own
    at = AtService(service=service, port=port, only_ca=True)
    async with (
        LiveCluster(load_config(service_account)) as api,
        running(app, api, clock=clock, webhooks=at),
    ):
        first = admin.request("GET", secret).json["data"]
        for path in registrations:
            trusted = [one["clientConfig"].get("caBundle") for one in admin.request("GET", path).json["webhooks"]]
            assert set(trusted) == {first["ca.crt"]}
        await eventually(lambda: asyncio.to_thread(rejects, admin), message="a refusal through the Service")
        clock.tick(LEAF_LIFE * 0.7)
        await eventually(lambda: admin.request("GET", secret).json["data"]["tls.crt"] != first["tls.crt"])
        assert await asyncio.to_thread(rejects, admin)
    for path in registrations:
        assert admin.request("DELETE", path).status == 200


def rejects(admin: User) -> bool:
    """Tell whether a malformed Certificate is refused at the door, not merely for want of an answer."""
    path = "/apis/pki.operatorkit.dev/v1alpha1/namespaces/default/certificates?dryRun=All"
    spec = {"secretName": "a", "issuerRef": {"name": "ca"}, "dnsNames": ["a_b"]}
    identity = {"apiVersion": "pki.operatorkit.dev/v1alpha1", "kind": "Certificate", "metadata": {"name": "a"}}
    answer = admin.request("POST", path, {**identity, "spec": spec})
    return answer.status == 422 and "denied the request" in answer.text


async def test_no_right_is_missing_and_each_unused_one_is_argued(
    audited, manifests, service_account, start, tmp_path, monkeypatch, free_port
):
    plane, path = audited
    monkeypatch.setattr(app, "settings", replace(app.settings, own_namespace=SYSTEM))
    if app.webhooks:
        await serve_webhooks(service_account, User.of(plane), free_port)
    kubeconfig = plane.write_kubeconfig(tmp_path / "kubeconfig")
    folder = ROOT / "tests" / "scenarios" / "pki"
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--controlplane=existing"]
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, *(str(folder / name) for name in SCENARIOS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
        env={**os.environ, "KUBECONFIG": str(kubeconfig), "PKI_KUBECONFIG": str(service_account)},
    )
    assert done.returncode == 0, done.stdout[-5000:]
    log = read_log(path)
    forbidden = [
        (one["verb"], one["requestURI"])
        for one in log
        if (one.get("annotations") or {}).get("authorization.k8s.io/decision") != "allow"
    ]
    assert forbidden == []
    unused = granted(manifests) - used(log)
    assert sorted(unused) == sorted(argued())
