"""What the scenarios of mysql_sharding share: the operators at work, and a shard."""

from __future__ import annotations

import shutil
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

pytest.importorskip("asyncmy", reason="needs the driver: pip install operatorkit[mysql]")

from scenarios.mysql_sharding.world import Shard

from operators.mysql_sharding import app
from operators.petset import app as petset


@pytest.fixture
async def shard(process_nodes, cluster, operator, controlplane, tmp_path):
    if process_nodes is None or shutil.which("mariadbd", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("needs process nodes, and mariadbd (Debian: apt-get install mariadb-server)")
    kubeconfig = controlplane.write_kubeconfig(tmp_path / "kubeconfig")
    one = Shard(cluster, process_nodes, "shop0", kubeconfig)

    @asynccontextmanager
    async def at_work():
        async with operator(petset, webhooks=None), AsyncExitStack() as stack:
            one.started = await stack.enter_async_context(AsyncExitStack())
            await one.started.enter_async_context(operator(app))

            async def restart():
                await one.started.aclose()
                await one.started.enter_async_context(operator(app))

            one.restart_operator = restart
            yield one

    return at_work
