"""The rights that charts/petset gives suffice for what petset does; which of them it never uses is not checked here."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from operatorkit.controlplane.real import RealControlPlane
from operatorkit.testing.user import User

ROOT = Path(__file__).resolve().parents[2]
SYSTEM, NAME = "petset-system", "petset"
IDENTITY = f"system:serviceaccount:{SYSTEM}:{NAME}"
SCENARIOS = ("life", "updates", "safety", "in_place", "volumes", "adoption", "revisions")
CHOSEN = (
    "nothing_to_do or rollback_do or grow_one or labels_no_longer or strict_member_is or budget_of_a_set"
    " or resources_restart or scaling_removes or claims_go or pet_set_that_differs"
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2000)]


@pytest.fixture(scope="module")
def audited(helm, tmp_path_factory):
    """A real control plane with both charts, and the folder of its audit log."""
    folder = tmp_path_factory.mktemp("audited")
    with RealControlPlane(nodes=2, audit_log=folder / "audit.log") as plane:
        kubeconfig = plane.write_kubeconfig(folder / "administrator")

        def run(*arguments):
            done = helm(*arguments, kubeconfig=kubeconfig)
            assert done.returncode == 0, done.stderr
            return done.stdout

        where = ("--namespace", SYSTEM, "--create-namespace", "--wait", "--timeout", "300s")
        run("install", "petset-crds", str(ROOT / "charts" / "petset-crds"), *where)
        run("install", NAME, str(ROOT / "charts" / "petset"), "--set", "replicas=0", *where)
        registrations = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
        admin = User.of(plane)
        for one in admin.request("GET", registrations).json["items"]:  # nothing serves the Service's webhooks here
            assert admin.request("DELETE", f"{registrations}/{one['metadata']['name']}").status == 200
        yield plane, folder


def service_account(plane, folder: Path) -> Path:
    """Write a kubeconfig with nothing but a token of the chart's ServiceAccount."""
    path = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts/{NAME}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
    answer = User.of(plane).request("POST", path, request)
    assert answer.status == 201, answer.text
    config = plane.kubeconfig()
    config["users"][0]["user"] = {"token": answer.json["status"]["token"]}
    target = folder / "service-account"
    target.write_text(yaml.safe_dump(config))
    return target


def requests_of_the_operator(log: Path):
    lines = log.read_text().splitlines(keepends=True)
    entries = [json.loads(line) for line in lines if line.endswith("\n")]
    return [one for one in entries if one["user"]["username"] == IDENTITY and one["stage"] != "RequestReceived"]


async def test_no_right_of_the_chart_is_missing(audited):
    plane, folder = audited
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--controlplane=existing"]
    scenarios = [str(ROOT / "tests" / "scenarios" / "petset" / f"test_petset_{name}.py") for name in SCENARIOS]
    own = {"KUBECONFIG": str(folder / "administrator"), "PETSET_KUBECONFIG": str(service_account(plane, folder))}
    done = await asyncio.to_thread(
        subprocess.run,
        [*command, *scenarios, "-k", CHOSEN],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
        env={**os.environ, **own},
    )
    assert done.returncode == 0, done.stdout[-5000:]
    log = requests_of_the_operator(folder / "audit.log")
    assert {"create", "patch", "delete", "watch"} <= {one["verb"] for one in log}
    forbidden = [
        (one["verb"], one["requestURI"])
        for one in log
        if (one.get("annotations") or {}).get("authorization.k8s.io/decision") != "allow"
    ]
    assert forbidden == []
