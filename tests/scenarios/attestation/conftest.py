"""What the scenarios of attestation share: a metadata server, the operator with its webhooks, and a key."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from registries import find
from scenarios.attestation.servers import MetadataServer, attest_serve
from scenarios.attestation.team import Team

from operatorkit._runtime.admission import AtUrl
from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.errors import Invalid, NotFound
from operatorkit.testing import eventually
from operatorkit.testing.running import install_crds
from operators.attestation import (
    AttestationAuthority,
    ClusterAttestationAuthority,
    ClusterImagePolicy,
    GrafeasServer,
    ImagePolicy,
    ImagePolicyException,
    ImageRevocation,
    app,
)
from operators.attestation.server.access import OpenAccess
from operators.attestation.server.serve import Listen, serving

OWN = (
    AttestationAuthority,
    ClusterAttestationAuthority,
    ClusterImagePolicy,
    GrafeasServer,
    ImagePolicy,
    ImagePolicyException,
    ImageRevocation,
)


@pytest_asyncio.fixture
async def metadata_server(tmp_path) -> AsyncIterator[MetadataServer]:
    async with attest_serve(tmp_path, "attest") as server:
        yield server


@pytest_asyncio.fixture
async def admission(cluster, operator) -> AsyncIterator[Any]:
    """Run the operator with its webhooks in the namespace of the test, until API servers ask it."""
    await install_crds(cluster, OWN)
    broken = {
        "apiVersion": ImagePolicy.api_version,
        "kind": "ImagePolicy",
        "metadata": {"name": "probe"},
        "spec": {"match": {"images": ["gcr.io/a:tag"]}, "require": {"anyOf": [{"name": "x"}]}},
    }

    async def asked() -> bool:
        try:
            await cluster.create(ImagePolicy.api_resource(), broken, namespace=cluster.namespace, dry_run=True)
        except Invalid:
            return True
        return False

    async with operator(app, namespace=cluster.namespace, webhooks=AtUrl()) as running:
        await eventually(asked, message="the API server asks attestation")
        yield running


@pytest.fixture
def cleanup(cluster) -> Callable[..., None]:
    """Delete cluster-scoped objects that a test has made."""
    return _remover(cluster)


def _remover(cluster: Any) -> Any:
    @asynccontextmanager
    async def without(*objects: tuple[type[Any], str]) -> AsyncIterator[None]:
        try:
            yield
        finally:
            for kind, name in objects:
                with suppress(NotFound):
                    await cluster.delete(kind.api_resource(), name)

    return without


@pytest.fixture
def shell(tmp_path: Path, kubeconfig: Path, metadata_server: MetadataServer) -> Any:
    """Run bash as the reader of a page does, with a key ring of its own and the commands of this checkout."""
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "operatorkit").write_text(f'#!/bin/sh\nexec {sys.executable} -m operatorkit "$@"\n')
    (commands / "operatorkit").chmod(0o755)
    if (cosign := find("cosign")) is not None:
        (commands / "cosign").symlink_to(cosign)
    environment = {
        **os.environ,
        "GNUPGHOME": str(home),
        "KUBECONFIG": str(kubeconfig),
        "PATH": f"{commands}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
    }

    async def run(script: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", script.replace("127.0.0.1:8080", metadata_server.address),
            cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), 240)
        return output.decode()

    yield run
    subprocess.run(["gpgconf", "--kill", "all"], check=False, env=environment)


@pytest_asyncio.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as exits:
        yield exits


@pytest_asyncio.fixture
async def server(stack, tmp_path):
    return await stack.enter_async_context(
        serving(f"sqlite:///{tmp_path}/a.db", OpenAccess(), Listen(port=0), clock=SYSTEM_CLOCK)
    )


@pytest_asyncio.fixture
async def team(cluster, admission, server, cleanup) -> AsyncIterator[Team]:
    del admission
    async with aiohttp.ClientSession() as session, cleanup((GrafeasServer, cluster.namespace)):
        team = Team(cluster, server.url(), session)
        await team.post("projects/team/notes?noteId=qa", {"attestation": {}})
        await team.make(GrafeasServer, cluster.namespace, {"url": server.url()})
        await team.make(AttestationAuthority, "qa", team.authority())
        policy = {"require": {"allOf": [{"kind": "AttestationAuthority", "name": "qa"}]}}
        await team.make(ImagePolicy, "signed", policy)
        await team.ready(AttestationAuthority, "qa")
        await team.ready(ImagePolicy, "signed")
        yield team
