"""pki is killed at each of its writes in turn, before and after it reaches the server; what comes of it is the same.

A proxy stands between the operator, in a process of its own, and the API server. It counts the writes that belong to
one story, and at the k-th it kills the process with SIGKILL. The story is told again for each k, in a namespace of its
own, until it passes without a kill. `make soak` kills at every write; otherwise every fourth is the last once, each
time others before and after it arrives. The same is done at every write, without processes, in test_pki_crashes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
from collections import Counter

import pytest
import pytest_asyncio
import yaml
from aiohttp import ClientError, web

from operatorkit.errors import ClusterError
from operatorkit.events import EVENTS
from operatorkit.names import ApiResource
from operatorkit.testing import eventually
from operatorkit.testing.running import install_crds
from operators.pki import app

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

NAMESPACES = ApiResource("", "v1", "Namespace", "namespaces", namespaced=False)
KINDS = ("Issuer", "CertificatePolicy", "Certificate", "Pki")
MOST_WRITES = 60
EVERY = int(os.environ.get("KILL_EVERY", "4"))
GRACE_SECONDS = 120  # a new process on a busy machine: it starts, fills its caches, and tells the story to its end

THE_END = {
    "conditions": {
        "Issuer ca": [("True", "IssuerReady")],
        "CertificatePolicy policy": [("True", "PolicyReady")],
        "Certificate web": [("True", "UpToDate")],
        "Certificate bad": [("False", "DeniedByPolicy")],
        "Certificate shop": [("True", "UpToDate")],
        "Pki shop": [("True", "UpToDate")],
    },
    "certificates": {
        "web-tls": ["app1"],
        "shop-tls": ["shop", "shop.NS", "shop.NS.svc", "shop.NS.svc.cluster.local"],
    },
    "events": {
        "CertificateIssued at Certificate shop": 1,
        "CertificateIssued at Certificate web": 1,
        "DeniedByPolicy at Certificate bad": 1,
        "DeniedByPolicy at Pod bad": 1,
    },
}


class Proxy:
    """Passes requests on, and kills the operator at the write that it was told."""

    def __init__(self, http, kubeconfig):
        self.http = http
        self.kubeconfig = kubeconfig
        self.log = kubeconfig.with_suffix(".log")
        self.process = None
        self.story = ""
        self.writes = 0
        self.kill_at = None
        self.after = False
        self.killed = asyncio.Event()

    def arm(self, story, *, kill_at, after):
        self.story, self.writes, self.kill_at, self.after = story, 0, kill_at, after
        self.killed.clear()

    async def handle(self, request):
        body = await request.read()
        fatal = False
        if request.method != "GET" and self.story and self.story in request.path:
            self.writes += 1
            fatal = self.writes == self.kill_at
        if fatal and not self.after:
            await self.kill()
            return web.Response(status=503)
        headers = {name: request.headers[name] for name in ("Accept", "Content-Type") if name in request.headers}
        url = self.http.user.server + request.path_qs
        try:
            async with self.http.session.request(request.method, url, data=body or None, headers=headers) as answer:
                if "watch" in request.query:
                    return await self.stream(request, answer)
                data = await answer.read()
                if fatal:
                    await self.kill()
                return web.Response(status=answer.status, body=data, content_type=answer.content_type)
        except ClientError:
            return web.Response(status=502)

    async def stream(self, request, answer):
        response = web.StreamResponse(status=answer.status, headers={"Content-Type": answer.content_type})
        connection = answer.connection
        try:
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
        except ConnectionResetError:
            pass  # the operator is dead: that is what this is about
        finally:
            if connection is not None and connection.transport is not None:
                connection.transport.abort()
        return response

    async def kill(self):
        process, self.process = self.process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself; `settled` tells what it said
                process.kill()
            await process.wait()
        self.killed.set()

    async def start(self):
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "operatorkit", "run", "pki", "--kubeconfig", str(self.kubeconfig)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def reported(self):
        return self.log.read_text(errors="replace")[-3000:]


@pytest_asyncio.fixture
async def proxy(http, cluster, tmp_path):
    """The proxy, with the operator running behind it."""
    await install_crds(cluster, app.kinds())
    path = tmp_path / "kubeconfig"
    proxy = Proxy(http, path)
    server = web.Server(proxy.handle)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "proxy", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "proxy", "user": {"token": "unused"}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        "current-context": "proxy",
    }
    path.write_text(yaml.safe_dump(config))
    try:
        await proxy.start()
        yield proxy
    finally:
        await proxy.kill()
        await runner.cleanup()


async def report(team, story):
    """The whole story: a CA, a certificate that a pod waits for, a service in one line, and one that is forbidden."""
    team.namespace = story
    await team.cluster.create(NAMESPACES, {"metadata": {"name": story}})
    await team.pod("web")
    await team.pod("bad", secret="bad-tls")
    await team.secret("ca", await team.new_ca())
    await team.create("Issuer", "ca", spec={"ca": {"secretName": "ca"}})
    service = ["shop", "shop.{{namespace}}", "*.{{namespace}}.svc", "*.{{namespace}}.svc.cluster.local"]
    await team.policy(allowedNames=["app1", *service])
    await team.certificate("web")
    await team.certificate("bad", dnsNames=["evil.example.com"])
    await team.create("Pki", "shop", spec={"serviceName": "shop", "issuerRef": {"kind": "Issuer", "name": "ca"}})


async def outcome(team):
    """What is there, without what differs from one telling to the next."""
    conditions = {}
    for kind, names in {
        "Issuer": ["ca"],
        "CertificatePolicy": [team.namespace],
        "Certificate": ["web", "bad", "shop"],
        "Pki": ["shop"],
    }.items():
        for name in names:
            obj = await team.find(kind, name)
            ready = [c for c in ((obj or {}).get("status") or {}).get("conditions", []) if c["type"] == "Ready"]
            shown = "policy" if kind == "CertificatePolicy" else name
            conditions[f"{kind} {shown}"] = [(c["status"], c["reason"]) for c in ready]
    leaves = {}
    for name in ("web-tls", "shop-tls", "bad-tls"):
        if await team.find("Secret", name) is not None:
            names = (await team.leaf(name)).extensions.get_extension_for_class(x509_names()).value
            leaves[name] = sorted(str(entry.value).replace(team.namespace, "NS") for entry in names)
    events = Counter(
        f"{event['reason']} at {event['involvedObject']['kind']} {event['involvedObject']['name']}"
        for event in (await team.cluster.list(EVENTS, namespace=team.namespace)).items
        if event.get("reportingComponent") == "pki"
    )
    return {"conditions": conditions, "certificates": leaves, "events": dict(sorted(events.items()))}


def x509_names():
    from cryptography.x509 import SubjectAlternativeName

    return SubjectAlternativeName


async def counts(team):
    events = (await team.cluster.list(EVENTS, namespace=team.namespace)).items
    return [event.get("count") or 1 for event in events if event.get("reportingComponent") == "pki"]


async def serials(team):
    found = {}
    for name in ("web-tls", "shop-tls"):
        if await team.find("Secret", name) is not None:
            found[name] = (await team.leaf(name)).serial_number
    return found


async def settled(team, proxy, *, quiet=1.0):
    """Wait for the end of the story, and until the operator writes no more; return what is there then."""

    async def ended():
        if proxy.process is not None and proxy.process.returncode is not None:
            raise RuntimeError(f"the operator ended with {proxy.process.returncode}:\n{proxy.reported()}")
        state = await outcome(team)
        assert state == THE_END
        return True

    try:
        await eventually(ended, timeout=GRACE_SECONDS, message="the end of the story")
    except AssertionError as failure:
        raise AssertionError(f"{failure}\nthe operator said:\n{proxy.reported()}") from None
    before = -1
    while before != proxy.writes:
        before = proxy.writes
        await asyncio.sleep(quiet)
    return await outcome(team)


@pytest.mark.parametrize("after", [False, True], ids=["before-it-arrives", "after-it-arrived"])
async def test_a_crash_at_any_write_leaves_the_same_end(proxy, team, after, capsys):
    undisturbed = 0
    for kill_at in (0, *range(1 + (EVERY // 2 if after else 0), MOST_WRITES, EVERY)):
        story = f"crash-{secrets.token_hex(4)}"
        proxy.arm(story, kill_at=kill_at, after=after)
        where = f"killed {'after' if after else 'before'} write {kill_at}"
        try:
            await report(team, story)
            if await killed(proxy, team):
                kept = await serials(team)
                await proxy.start()
                assert await settled(team, proxy) == THE_END, f"{where}\n{proxy.reported()}"
                assert max(await counts(team)) <= 2, where
                assert kept.items() <= (await serials(team)).items(), f"{where}: a certificate was issued twice"
            elif kill_at == 0:  # nobody is killed at a write before the first
                undisturbed = proxy.writes
                assert max(await counts(team)) == 1
            else:
                break
        finally:
            with contextlib.suppress(ClusterError):
                await team.cluster.delete(NAMESPACES, story)
    with capsys.disabled():
        print(f"\n  killed at each {EVERY}. of {undisturbed} writes")  # noqa: T201
    assert MOST_WRITES - EVERY > kill_at > 11


async def killed(proxy, team):
    """Wait until the operator is killed, or has told the story to its end: then there was no such write."""
    death = asyncio.ensure_future(proxy.killed.wait())
    end = asyncio.ensure_future(settled(team, proxy))
    try:
        await asyncio.wait({death, end}, return_when=asyncio.FIRST_COMPLETED)
        if not death.done():
            await end  # and raise what it found wrong
        return death.done()
    finally:
        for task in (death, end):
            task.cancel()
        await asyncio.gather(death, end, return_exceptions=True)
