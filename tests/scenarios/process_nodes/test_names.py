"""Names: what the hosts file of a pod has, and that it is kept current."""

from __future__ import annotations

from operatorkit.testing import eventually

WAIT = "while ! getent ahosts {name} | grep -q STREAM; do sleep 0.05; done; getent ahostsv4 {name}"


def headless(name="db", **spec):
    ports = [{"port": 3306}]
    return {
        "metadata": {"name": name},
        "spec": {"clusterIP": "None", "selector": {"app": "db"}, "ports": ports, **spec},
    }


async def member(pods, name, script="sleep 1000", **spec):
    labels = {"labels": {"app": "db"}}
    return await pods.run(script, name, metadata=labels, hostname=name, subdomain="db", **spec)


async def test_a_pod_is_found_by_its_name_in_a_headless_service(pods, http):
    await http.created("services", headless())
    await member(pods, "db-0")
    address = (await pods.ready("db-0"))["podIP"]
    for number, name in enumerate(("db-0.db", f"db-0.db.{http.namespace}.svc.cluster.local")):
        pod = f"client-{number}"
        await pods.run(WAIT.format(name=name), pod, restartPolicy="Never")
        await pods.phase("Succeeded", pod)
        assert address in await pods.logs(pod)


async def test_a_service_has_the_addresses_of_all_its_ready_pods(pods, http):
    await http.created("services", headless())
    addresses = []
    for name in ("db-0", "db-1"):
        await member(pods, name)
        addresses.append((await pods.ready(name))["podIP"])
    count = "getent ahostsv4 db | grep -c STREAM"
    script = f'until test "$({count})" = 2; do sleep 0.05; done; getent ahostsv4 db'
    await pods.run(script, "client", restartPolicy="Never")
    await pods.phase("Succeeded", "client")
    log = await pods.logs("client")
    assert all(address in log for address in addresses)


async def test_a_running_pod_sees_names_come_and_go(pods, http):
    await http.created("services", headless())
    script = (
        "echo up; until getent hosts db-0.db; do sleep 0.05; done; "
        "while getent hosts db-0.db > /dev/null; do sleep 0.05; done; echo gone; sleep 1000"
    )
    await pods.run(script, "client")
    await pods.says("up", "client")
    await member(pods, "db-0")
    address = (await pods.ready("db-0"))["podIP"]
    await pods.says(address, "client")
    await pods.delete("db-0", gracePeriodSeconds=1)
    await pods.says("gone", "client")


async def test_an_unready_pod_has_a_name_only_where_the_service_publishes_it(pods, http):
    probe = {"exec": {"command": ["false"]}, "periodSeconds": 1}
    await http.created("services", headless())
    await http.created("services", headless("all", publishNotReadyAddresses=True))
    await member(pods, "db-0", container={"readinessProbe": probe})

    async def running():
        return "running" in (await pods.container("db-0"))["state"]

    await eventually(running)
    script = WAIT.format(name="all") + "; getent hosts db-0.db || echo none"
    await pods.run(script, "client", restartPolicy="Never")
    await pods.phase("Succeeded", "client")
    assert (await pods.logs("client")).endswith("none\n")


async def test_the_api_server_is_reached_by_its_name_and_variables(pods):
    script = "getent hosts kubernetes.default.svc; echo $KUBERNETES_SERVICE_HOST"
    await pods.run(script, restartPolicy="Never")
    await pods.phase("Succeeded")
    *found, host = (await pods.logs()).split()
    assert host == found[0]
    assert "kubernetes.default.svc" in found


async def test_host_aliases_are_names(pods):
    aliases = [{"ip": "127.9.9.9", "hostnames": ["elsewhere", "other"]}]
    await pods.run("getent hosts other", restartPolicy="Never", hostAliases=aliases)
    await pods.phase("Succeeded")
    assert (await pods.logs()).split()[0] == "127.9.9.9"
