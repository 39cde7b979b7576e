"""A policy report needs a kind that many clusters lack."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

pytest.importorskip("pysequoia", reason="needs the extra attestation")

from operatorkit.cluster import LiveCluster, load_config
from operatorkit.controlplane.embedded import EmbeddedControlPlane
from operators.attestation.reports import report
from operators.attestation.workloads import ImageUse

POD = {"metadata": {"name": "web", "namespace": "default", "uid": "u"}}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("results", [[], [(ImageUse("gcr.io/a@sha256:1", "spec.containers[0].image"), "a", None)]])
async def test_no_report_is_written_where_the_kind_is_not_installed(results):
    with EmbeddedControlPlane() as plane:
        async with LiveCluster(load_config(plane.kubeconfig())) as api:
            await report(api, POD, results, NOW)
