"""Real shards without pytest: an embedded control plane, process nodes, and both operators at work."""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path

from scenarios.mysql_sharding.world import Shard

from operatorkit.cluster import LiveCluster, load_config
from operatorkit.controlplane.nodes.process import ProcessNodes, unavailable
from operatorkit.definitions import own_kinds
from operatorkit.kinds import NAMESPACES
from operatorkit.testing.backends import start
from operatorkit.testing.cluster import RecordingCluster
from operatorkit.testing.running import install_crds, running
from operators.mysql_sharding import app
from operators.petset import app as petset


async def begun(stack, namespace):
    """Return the shard shop0, which does not exist yet, and a directory; both end with `stack`."""
    if (why := unavailable()) is not None:
        raise SystemExit(f"{namespace}: {why}")
    directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    plane = stack.enter_context(start("embedded"))
    live = await stack.enter_async_context(LiveCluster(load_config(plane.kubeconfig(namespace=namespace))))
    cluster = RecordingCluster(live, namespace=namespace)
    await cluster.create(NAMESPACES, {"metadata": {"name": namespace}})
    nodes_config = load_config(plane.kubeconfig(user="system:process-nodes"))
    api = await stack.enter_async_context(LiveCluster(nodes_config))
    nodes = await stack.enter_async_context(ProcessNodes(api, api_url=plane.url))
    await install_crds(cluster, [*own_kinds(petset), *own_kinds(app)])
    await stack.enter_async_context(running(petset, cluster))
    operator = await stack.enter_async_context(AsyncExitStack())
    await operator.enter_async_context(running(app, cluster))

    async def restart():
        await operator.aclose()
        await operator.enter_async_context(running(app, cluster))

    one = Shard(cluster, nodes, "shop0", plane.write_kubeconfig(directory / "kubeconfig"))
    one.restart_operator = restart
    return one, directory
