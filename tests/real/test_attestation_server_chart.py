"""The chart of the metadata server: SQLite on a volume, or PostgreSQL by values, and what Helm rejects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from operators.attestation.cli import command

CHART = Path(__file__).resolve().parents[2] / "charts" / "attestation-server"


def rendered(helm, *values: str) -> dict[str, dict[str, Any]]:
    options = [part for value in values for part in ("--set", value)]
    done = helm("template", "facts", CHART, "--namespace", "attestation-system", *options)
    assert done.returncode == 0, done.stderr
    return {one["kind"]: one for one in yaml.safe_load_all(done.stdout) if one}


def container(objects) -> dict[str, Any]:
    (found,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize(
    "values", [["tls.secretName=t"], ["tls.secretName=t", "postgresql.secretName=pg", "replicas=3"]]
)
def test_helm_accepts_it_and_the_server_knows_its_arguments(helm, values):
    options = [part for value in values for part in ("--set", value)]
    done = helm("lint", "--strict", CHART, *options)
    assert done.returncode == 0, done.stdout
    known = {option for parameter in command.commands["serve"].params for option in parameter.opts}
    _, _, *arguments = container(rendered(helm, *values))["args"]
    assert {argument.partition("=")[0] for argument in arguments} <= known


def test_sqlite_has_a_volume_that_outlives_the_release(helm):
    objects = rendered(helm, "tls.secretName=t")
    claim = objects["PersistentVolumeClaim"]
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    spec = objects["Deployment"]["spec"]
    assert spec["strategy"] == {"type": "Recreate"}
    volumes = {one["name"]: one for one in spec["template"]["spec"]["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert "--database=sqlite:////data/attest.db" in container(objects)["args"]
    assert container(objects)["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"


def test_postgresql_is_reached_by_a_secret_and_by_several_replicas(helm):
    objects = rendered(helm, "tls.secretName=t", "postgresql.secretName=pg", "replicas=3")
    assert "PersistentVolumeClaim" not in objects
    assert objects["Deployment"]["spec"]["replicas"] == 3
    assert "--database=$(DATABASE_URL)" in container(objects)["args"]
    url = next(one for one in container(objects)["env"] if one["name"] == "DATABASE_URL")
    assert url["valueFrom"]["secretKeyRef"] == {"name": "pg", "key": "url"}
    assert objects["ClusterRoleBinding"]["roleRef"]["name"] == "system:auth-delegator"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "tls.secretName is empty"),
        (["tls.secretName=t", "replicas=2"], "SQLite is for one"),
        (["tls.secretName=t", "persistence.size=big"], "persistence"),
        (["tls.secretName=t", "unknown=1"], "unknown"),
    ],
)
def test_values_that_cannot_work_are_rejected(helm, values, message):
    options = [part for value in values for part in ("--set", value)]
    done = helm("template", "facts", CHART, *options)
    assert done.returncode != 0
    assert message in done.stderr
