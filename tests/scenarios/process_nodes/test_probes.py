"""Probes and hooks act on the processes of a pod."""

from __future__ import annotations

import sys
from pathlib import Path

from operatorkit.testing import eventually

PYTHON = str(Path(sys.executable).resolve())  # not one of a virtual environment in /tmp: pods have a /tmp of their own

SERVER = """
import http.server, os, socketserver, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ok = self.headers.get("X-Probe") == "yes" and self.path == "/healthz"
        self.send_response(200 if ok else 500)
        self.end_headers()
    def log_message(self, *args): pass
socketserver.ThreadingTCPServer.allow_reuse_address = True
socketserver.ThreadingTCPServer((os.environ["IP"], 8080), Handler).serve_forever()
"""
IP = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


def serving(**probes):
    command = [PYTHON, "-c", SERVER]
    ports = [{"name": "web", "containerPort": 8080}]
    return {"command": command, "env": [IP], "ports": ports, **probes}


async def condition(pods, type_, name="p"):
    held = {one["type"]: one for one in (await pods.status(name)).get("conditions", ())}
    return held[type_]


async def test_an_exec_probe_decides_about_readiness(pods):
    probe = {"exec": {"command": ["cat", "/tmp/ready"]}, "periodSeconds": 1, "failureThreshold": 1}
    script = "echo up; read x < /data/go; touch /tmp/ready; read x < /data/stop; rm /tmp/ready; sleep 1000"
    make = ["/bin/sh", "-c", "mkfifo /data/go /data/stop"]
    mount = [{"name": "data", "mountPath": "/data"}]
    init = {"name": "make", "image": "i:1", "command": make, "volumeMounts": mount}
    say = {"name": "say", "image": "i:1", "volumeMounts": mount}
    say["command"] = ["/bin/sh", "-c", "echo > /data/go; sleep 3; echo > /data/stop; sleep 1000"]
    main = {"name": "main", "image": "i:1", "command": ["/bin/sh", "-c", script]}
    main |= {"volumeMounts": mount, "readinessProbe": probe}
    volumes = [{"name": "data", "emptyDir": {}}]
    await pods.run(initContainers=[init], containers=[main, say], volumes=volumes)
    status = await pods.ready()
    assert status["containerStatuses"][0]["ready"]

    async def unready():
        held = await condition(pods, "Ready")
        assert held["status"] == "False"
        assert held["message"] == "containers with unready status: [main]"
        return True

    await eventually(unready)
    assert (await pods.container())["restartCount"] == 0


async def test_an_http_probe_sends_its_headers_to_a_named_port(pods):
    header = [{"name": "X-Probe", "value": "yes"}]
    probe = {"httpGet": {"port": "web", "path": "/healthz", "httpHeaders": header}, "periodSeconds": 1}
    await pods.run(container=serving(readinessProbe=probe))
    await pods.ready()


async def test_an_http_probe_that_gets_an_error_is_reported(pods):
    probe = {"httpGet": {"port": 8080}, "periodSeconds": 1}
    await pods.run(container=serving(readinessProbe=probe))

    async def reported():
        event = (await pods.events())["Unhealthy"]
        return "HTTP probe failed with statuscode: 500" in event["message"]

    await eventually(reported)
    assert (await condition(pods, "Ready"))["status"] == "False"


async def test_a_tcp_probe_waits_for_the_socket(pods):
    probe = {"tcpSocket": {"port": 8080}, "periodSeconds": 1}
    await pods.run(container=serving(readinessProbe=probe))
    await pods.ready()


async def test_a_failing_liveness_probe_restarts_the_container(pods):
    probe = {"exec": {"command": ["test", "-e", "/tmp/alive"]}, "periodSeconds": 1}
    probe |= {"failureThreshold": 1, "initialDelaySeconds": 0}
    script = "touch /tmp/alive; sleep 1; rm /tmp/alive; sleep 1000"
    await pods.run(script, container={"livenessProbe": probe}, terminationGracePeriodSeconds=1)

    async def restarted():
        container = await pods.container()
        return container["restartCount"] >= 1 and container["lastState"]["terminated"]

    assert (await eventually(restarted))["exitCode"] in {137, 143}
    killing = (await pods.events())["Killing"]["message"]
    assert killing == "Container main failed liveness probe, will be restarted"


async def test_a_startup_probe_holds_the_others_back(pods):
    startup = {"exec": {"command": ["test", "-e", "/tmp/started"]}, "periodSeconds": 1}
    startup["failureThreshold"] = 60
    liveness = {"exec": {"command": ["test", "-e", "/tmp/started"]}, "periodSeconds": 1}
    liveness["failureThreshold"] = 1
    container = {"startupProbe": startup, "livenessProbe": liveness}
    await pods.run("echo up; sleep 2.5; touch /tmp/started; sleep 1000", container=container)

    async def runs_unstarted():
        found = await pods.container()
        return "running" in found["state"] and found["started"] is False

    await eventually(runs_unstarted)
    await pods.ready()
    found = await pods.container()
    assert (found["started"], found["restartCount"]) == (True, 0)


async def test_a_probe_that_hangs_fails_after_its_timeout(pods):
    probe = {"exec": {"command": ["sleep", "1000"]}, "timeoutSeconds": 1, "periodSeconds": 1}
    await pods.run("sleep 1000", container={"readinessProbe": probe})

    async def reported():
        return "timed out" in (await pods.events())["Unhealthy"]["message"]

    await eventually(reported)


async def test_a_pre_stop_hook_runs_before_sigterm(pods):
    hook = {"preStop": {"exec": {"command": ["touch", "/tmp/hook"]}}}
    script = "trap 'test -e /tmp/hook && echo hooked; sleep 1; exit 0' TERM; echo up; while :; do sleep 0.05; done"
    await pods.run(script, container={"lifecycle": hook}, terminationGracePeriodSeconds=20)
    await pods.says("up")
    await pods.delete()
    await pods.says("hooked")
    await pods.gone()


async def test_a_post_start_hook_runs_in_the_container(pods):
    hook = {"postStart": {"exec": {"command": ["/bin/sh", "-c", "echo $WHO > /tmp/hook"]}}}
    script = "while ! test -s /tmp/hook; do sleep 0.05; done; cat /tmp/hook; sleep 1000"
    container = {"lifecycle": hook, "env": [{"name": "WHO", "value": "me"}]}
    await pods.run(script, container=container)
    await pods.says("me")
