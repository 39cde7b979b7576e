"""Random sequences of requests of every kind: both servers answer, store and tell watchers the same.

What belongs here: sequences of single clients' requests to one object. What does not: what several appliers make of
each other's fields (`test_random_writes`). A failure prints the sequence, which repeats it. `make soak` runs them,
as many as SEQUENCES says; each difference that is mended gets a line in `tests/scenarios/test_rare_writes`.
"""

from __future__ import annotations

import asyncio
import copy
import json
import os
import random
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from operatorkit.controlplane.real import find
from operatorkit.testing import eventually
from operatorkit.testing.backends import start
from operatorkit.testing.user import User, headers_of, ssl_context_of

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(find() is None, reason="no programs of a real control plane: `make test-real` builds them"),
    pytest.mark.skipif(not os.environ.get("SEQUENCES"), reason="SEQUENCES does not say how many: `make soak` does"),
    pytest.mark.timeout(3600),
]
SEQUENCES = int(os.environ.get("SEQUENCES") or 0)
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
DEFINITION = json.loads((Path(__file__).parent / "rich_definition.json").read_text())
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
PATCHES = {
    "json": "application/json-patch+json",
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "apply": "application/apply-patch+yaml",
}

METADATA = {
    "/metadata/labels": [{"a": "1"}, {"a": "1", "b": "2"}, {}, None],
    "/metadata/labels/a": ["1", "2", None, "bad value", ""],
    "/metadata/labels/b": ["1", "2", None],
    "/metadata/annotations/x": ["1", "2", None, ""],
    "/metadata/annotations": [{"x": "1"}, {}, None],
    "/metadata/finalizers": [["example.com/f"], ["example.com/f", "example.com/g"], ["example.com/g"], [], None],
    "/metadata/ownerReferences": [
        [], None, [{"apiVersion": "v1", "kind": "ConfigMap", "name": "o", "uid": "1", "controller": True}],
    ],
    "/metadata/resourceVersion": ["live", "1", None],
    "/metadata/uid": ["live", "other", None],
    "/metadata/generation": [7, None],
    "/unknown": [1, {"a": 1}],
}  # fmt: skip
CONTAINERS = [
    [{"name": "a", "image": "i"}],
    [{"name": "a", "image": "j"}, {"name": "b", "image": "i"}],
    [{"name": "b", "image": "i", "env": [{"name": "X", "value": "1"}]}],
    [{"name": "a", "image": "i", "ports": [{"containerPort": 80}, {"containerPort": 81, "protocol": "UDP"}]}],
    [{"name": "a", "image": "i", "resources": {"requests": {"cpu": "0.5", "memory": 1024}, "limits": {"cpu": 1}}}],
    [{"name": "a", "image": "i", "command": ["x"], "args": ["y", "z"]}],
    [{"name": "a"}],
    [],
]
TEMPLATE = {
    "metadata": {"labels": {"app": "x"}},
    "spec": {"automountServiceAccountToken": False, "containers": [{"name": "a", "image": "i"}]},
}
POD_SPEC = {
    "/volumes": [[{"name": "v", "emptyDir": {}}], [{"name": "v", "secret": {"secretName": "s"}}], [], None],
    "/nodeSelector": [{"d": "1"}, {"d": "2", "e": "1"}, {}, None],
    "/terminationGracePeriodSeconds": [0, 5, None],
    "/securityContext": [{}, {"runAsUser": 5}, {"runAsNonRoot": True, "fsGroup": 1}, None],
    "/imagePullSecrets": [[{"name": "s"}], [], None],
}


@dataclass(frozen=True)
class Kind:
    """What is written: the fields that are set to one value or another, below `base`."""

    path: str
    kind: str
    api_version: str
    base: dict
    values: dict
    subresources: tuple[str, ...] = ()


KINDS = {
    it.kind: it
    for it in [
        Kind(
            "/apis/random.example.com/v1/namespaces/default/riches", "Rich", "random.example.com/v1",
            {"spec": {"need": "x"}},
            {
                "/spec/need": ["x", "y", None, 1], "/spec/text": ["abc", "", "abcdefg", "ABC", None, 5],
                "/spec/number": [0, 4, 11, -1, 1.0, 1.5, "4", None], "/spec/ratio": [0.5, 2, 1e3, -0.0, None],
                "/spec/nully": ["a", None, ""], "/spec/nullyDefault": ["a", None],
                "/spec/nullyObj": [None, {}, {"x": "1"}, {"x": None}], "/spec/port": [1, "http", None, 1.5, True],
                "/spec/flag": [True, False, None, "true"], "/spec/choice": ["a", "b", "c", None],
                "/spec/when": ["2020-01-01T00:00:00Z", "yesterday", None], "/spec/duration": ["1h", "1x", "1.5h30m"],
                "/spec/bytes": ["YQ==", "!"], "/spec/ip": ["1.2.3.4", "1.2.3", "::1"],
                "/spec/set": [["a"], ["a", "b"], ["b", "a"], ["a", "a"], [], None],
                "/spec/byKey": [
                    [{"a": "1"}], [{"a": "1"}, {"a": "2", "value": "x"}], [{"a": "2", "b": 9}, {"a": "2"}],
                    [{"a": "1"}, {"a": "1", "b": 7}], [{}], [], None, [{"a": "1", "deep": {"l": ["x"]}}],
                ],
                "/spec/byKey/0/value": ["1", "2", None], "/spec/whole": [["a"], ["a", "b"], ["a", "b", "c", "d"], []],
                "/spec/atomic": [{"x": "1"}, {"y": "2"}, {"x": "1", "y": "2", "z": "3"}, {}, None],
                "/spec/labels": [{"l": "1"}, {"l": "1", "m": "2"}, {}, None, {"k1": "", "k2": "2", "k3": "3"}],
                "/spec/free": [{"u": 1}, {"u": {"q": [1]}}, {"list": [1, 2]}, {}, {"typed": "x"}, {"typed": 5}],
                "/spec/free/u": [1, 2, {"q": 2}], "/spec/nested": [{}, {"x": 2}, None, {"y": {"z": 1}}, {"gone": 1}],
                "/spec/nested/x": [3, None, "a"], "/spec/nested/y": [{}, {"z": 5}, None],
                "/spec/template": [
                    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b"}}, "spec": {"x": 1}},
                    {"apiVersion": "v1", "kind": "Pod"}, {"kind": "Pod"}, {}, None,
                ],
                "/spec/either": [{"a": "1"}, {"b": 1}, {"a": "1", "b": 1}, {}, None],
                "/spec/items": [[{"n": 1}], [{"n": 1, "s": "x"}, {}], [{"n": "x"}], []],
                "/spec/replicas": [0, 3, -1, None],
                "/status/phase": ["A", "B", None, 5], "/status/replicas": [1, 2],
                "/status": [{}, {"phase": "A"}, {"replicas": 2, "selector": "a=b"}, {"gone": 1}],
                "/status/conditions": [
                    [{"type": "R", "status": "True"}], [], None, [{"status": "x"}], [{"type": "R"}, {"type": "R"}],
                    [{"type": "R", "status": "False"}, {"type": "S", "status": "True"}],
                ],
            },
            ("status",),
        ),
        Kind(
            "/api/v1/namespaces/default/configmaps", "ConfigMap", "v1", {"data": {"a": "1"}},
            {
                "/data": [{"a": "1"}, {"a": "2", "b": "1"}, {}, None], "/data/a": ["1", "2", None, ""],
                "/data/b": ["1", None], "/binaryData": [{"c": "YQ=="}, None], "/data/bad key": ["x", None],
            },
        ),
        Kind(
            "/api/v1/namespaces/default/secrets", "Secret", "v1", {"data": {"a": "MQ=="}},
            {
                "/data": [{"a": "MQ=="}, {"a": "Mg==", "b": "MQ=="}, {}, None], "/data/a": ["MQ==", "Mg==", None, ""],
                "/stringData": [{"a": "x"}, {"c": "y"}, {}, None], "/stringData/a": ["q", None],
            },
        ),
        Kind(
            "/api/v1/namespaces/default/services", "Service", "v1",
            {"spec": {"clusterIP": "None", "selector": {"a": "b"}, "ports": [{"port": 80}]}},
            {
                "/spec/ports": [
                    [{"port": 80}], [{"port": 80, "name": "a"}, {"port": 81, "name": "b"}], [{"port": 80}, {"port": 81}],
                    [{"port": 80, "protocol": "UDP"}], [{"port": 0}], [{"port": 80, "targetPort": "web"}],
                    [{"port": 80, "name": "a"}, {"port": 80, "name": "b", "protocol": "UDP"}],
                ],
                "/spec/ports/0/targetPort": [1, "x", None, 99999], "/spec/selector": [{"a": "b"}, {"c": "d"}],
                "/spec/selector/a": ["c", None], "/spec/sessionAffinity": ["None", "ClientIP", None],
                "/spec/publishNotReadyAddresses": [True, None], "/spec/internalTrafficPolicy": ["Local", "x"],
            },
            ("status",),
        ),
        Kind(
            "/apis/apps/v1/namespaces/default/deployments", "Deployment", "apps/v1",
            {"spec": {"selector": {"matchLabels": {"app": "x"}}, "template": TEMPLATE}},
            {
                "/spec/replicas": [0, 1, 3, -1, None], "/spec/paused": [True, False, None],
                "/spec/minReadySeconds": [1, -1, None], "/spec/revisionHistoryLimit": [1, None],
                "/spec/selector": [{"matchLabels": {"app": "y"}}, {"matchLabels": {"app": "x"}}],
                "/spec/strategy": [
                    {}, {"type": "Recreate", "rollingUpdate": None}, {"rollingUpdate": {"maxSurge": "25%"}},
                    {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}, {"type": "Recreate"},
                ],
                "/spec/progressDeadlineSeconds": [1, 700, None], "/spec/template/spec/containers": CONTAINERS,
                "/spec/template/metadata/labels": [{"app": "x", "b": "c"}, {"app": "z"}],
                **{f"/spec/template/spec{path}": values for path, values in POD_SPEC.items()},
                "/status": [{"replicas": 1}, {}, {"replicas": 1, "readyReplicas": 2}], "/status/replicas": [2, -1],
            },
            ("status",),
        ),
        Kind(
            "/api/v1/namespaces/default/podtemplates", "PodTemplate", "v1", {"template": TEMPLATE},
            {
                "/template/metadata/labels": [{"app": "x", "b": "c"}, None], "/template/spec/containers": CONTAINERS,
                **{f"/template/spec{path}": values for path, values in POD_SPEC.items()},
            },
        ),
        Kind(
            "/api/v1/namespaces/default/pods", "Pod", "v1", {"spec": TEMPLATE["spec"]},
            {
                "/spec/containers/0/image": ["k", ""], "/spec/priority": [None],
                "/status/phase": ["Running", "Succeeded"], "/status/podIP": ["1.2.3.4", None],
                "/status/conditions": [
                    [{"type": "Ready", "status": "True"}],
                    [{"type": "PodScheduled", "status": "False"}, {"type": "Ready", "status": "False"}],
                ],
            },
            ("status",),
        ),
    ]
}  # fmt: skip


class Dice:
    """Random steps; a step is data, so that it can be printed and repeated."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.kind = KINDS[self.random.choice(sorted(KINDS))]

    def chance(self, share):
        return self.random.random() < share

    def edits(self, count, table):
        """Return fields and their new values, below `table` or in the metadata."""
        chosen = [METADATA if self.chance(0.3) or not table else table for _ in range(count)]
        fields = [(values, self.random.choice(sorted(values))) for values in chosen]
        return [(path, copy.deepcopy(self.random.choice(values[path]))) for values, path in fields]

    def steps(self):
        return [{"do": "create", "query": {}, "edits": []}, *(self.step() for _ in range(self.random.randint(3, 9)))]

    def step(self):
        kind, query = self.kind, {}
        sub = self.random.choice(kind.subresources) if kind.subresources and self.chance(0.25) else ""
        statuses = {path: it for path, it in kind.values.items() if path.startswith("/status")}
        table = statuses if sub else kind.values
        if self.chance(0.1):
            query["dryRun"] = "All"
        if self.chance(0.3):
            query["fieldValidation"] = self.random.choice(["Warn", "Ignore"])
        query["fieldManager"] = self.random.choice(["alice", "bob", "carol"])
        edits = self.edits(self.random.choice([1, 1, 2, 3]), table)
        strategic = 0 if kind.kind == "Rich" else 2
        verbs = ["create", "put", "json", "merge", "strategic", "apply", "delete", "get"]
        do = self.random.choices(verbs, [1, 3, 2, 3, strategic, 5, 1, 0.5])[0]
        step = {"do": do, "sub": sub, "query": query}
        match do:
            case "create":
                return {"do": do, "query": query, "edits": [it for it in edits if "Version" not in it[0]]}
            case "put":
                return step | {"edits": edits, "revision": self.random.choice(["live", "live", "none", "first"])}
            case "json":
                return step | {"body": [self.operation(path, value) for path, value in edits]}
            case "apply":
                force = {"force": "true"} if self.chance(0.6) else {}
                body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": "x"}}
                body |= copy.deepcopy(kind.base) if self.chance(0.5) and not sub else {}
                return step | {"query": query | force, "body": changed(body, edits)}
            case "delete":
                policy = self.random.choice(
                    [{}, {"propagationPolicy": "Background"}, {"propagationPolicy": "Foreground"}]
                )
                condition = self.random.choice([{}, {}, {"preconditions": {"uid": "other"}}])
                dry = {"dryRun": ["All"]} if self.chance(0.1) else {}
                return {"do": do, "query": {}, "body": policy | condition | dry}
            case "get":
                return step | {"query": {}}
        return step | {"body": changed({}, edits)}

    def operation(self, path, value):
        op = self.random.choices(["add", "replace", "remove", "test"], [5, 3, 3, 0.5])[0]
        return {"op": op, "path": path} if op == "remove" else {"op": op, "path": path, "value": value}


def changed(obj, edits):
    """Return an object with fields set; what is on the way to them is made."""
    for path, value in edits:
        *parents, last = path.split("/")[1:]
        part = obj
        for position, name in enumerate(parents):
            if isinstance(part, list):
                part = part[int(name)] if part and isinstance(part[0], dict) else None
            elif not isinstance(part.get(name), dict | list):
                part[name] = {}
                part = part[name] if not [*parents, last][position + 1].isdigit() else None
            else:
                part = part[name]
            if part is None:
                break
        if isinstance(part, dict):
            part[last] = copy.deepcopy(value)
    return obj


@dataclass
class Client:
    """One of the two servers, and the object there."""

    user: User
    session: aiohttp.ClientSession
    kind: Kind = None
    live: dict | None = None
    first: dict | None = None
    names: dict = field(default_factory=dict)

    async def send(self, method, path, query=None, body=None, media="application/json"):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", **({"Content-Type": media} if data is not None else {})}
        url = self.user.server + path
        async with self.session.request(method, url, params=query or {}, data=data, headers=headers) as answer:
            return answer.status, await answer.json(), answer.headers.getall("Warning", [])

    async def begin(self, kind):
        """Take away what is left of the last sequence, and remember from where to watch."""
        self.kind, self.live, self.first, self.names = kind, None, None, {}

        async def gone():
            await self.send("PATCH", f"{kind.path}/x", {}, {"metadata": {"finalizers": None}}, PATCHES["merge"])
            await self.send("DELETE", f"{kind.path}/x", {"gracePeriodSeconds": "0", "propagationPolicy": "Background"})
            return (await self.send("GET", f"{kind.path}/x"))[0] == 404

        await eventually(gone, timeout=60)
        _, page, _ = await self.send("GET", kind.path)
        self.since = page["metadata"]["resourceVersion"]

    async def take(self, step):
        """Take a step; return the answer, and what is stored then, without what is each server's own."""
        where = f"{self.kind.path}/x" + (f"/{step['sub']}" if step.get("sub") else "")
        do, query = step["do"], step["query"]
        named = {"apiVersion": self.kind.api_version, "kind": self.kind.kind, "metadata": {"name": "x"}}
        match do:
            case "create":
                body = changed({**named, **copy.deepcopy(self.kind.base)}, step["edits"])
                sent = await self.send("POST", self.kind.path, query, self._own(body))
            case "put":
                body = copy.deepcopy(self.live) or {**named, **copy.deepcopy(self.kind.base)}
                if step["revision"] == "none":
                    body["metadata"].pop("resourceVersion", None)
                elif step["revision"] == "first" and self.first:
                    body["metadata"]["resourceVersion"] = self.first["metadata"]["resourceVersion"]
                sent = await self.send("PUT", where, query, self._own(changed(body, step["edits"])))
            case "delete":
                sent = await self.send("DELETE", where, query, step["body"])
            case "get":
                sent = await self.send("GET", where, query)
            case _:
                sent = await self.send("PATCH", where, query, self._own(step["body"]), PATCHES[do])
        answer = self._shown(*sent)
        code, obj, _ = await self.send("GET", f"{self.kind.path}/x")
        self.live = obj if code == 200 else None
        self.first = self.first or self.live
        return answer, self._shown(code, obj, [])

    async def events(self):
        """Return what a watch since the beginning tells of the object, up to another that is made now."""
        marker = f"marker-{random.randrange(10**9)}"
        named = {"apiVersion": self.kind.api_version, "kind": self.kind.kind, "metadata": {"name": marker}}
        code, made, _ = await self.send("POST", self.kind.path, {}, {**named, **copy.deepcopy(self.kind.base)})
        assert code == 201, made
        query, reported, rest = {"watch": "1", "resourceVersion": self.since}, [], b""
        async with self.session.get(self.user.server + self.kind.path, params=query) as stream:
            async for chunk in stream.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                frames = [json.loads(it) for it in lines]
                reported += [it for it in frames if it["object"]["metadata"]["name"] == "x"]
                if any(it["object"]["metadata"]["name"] == marker for it in frames):
                    break
            stream.close()
        await self.send("DELETE", f"{self.kind.path}/{marker}", {"gracePeriodSeconds": "0"})
        return [{"type": it["type"], "object": self._same(it["object"])} for it in reported]

    def _own(self, value):
        """Return a body with the server's own values where it says `live`."""
        if isinstance(value, dict):
            metadata = (self.live or {}).get("metadata", {})
            return {
                key: metadata.get(key, "1") if it == "live" and key in {"uid", "resourceVersion"} else self._own(it)
                for key, it in value.items()
            }
        if isinstance(value, list):
            metadata = (self.live or {}).get("metadata", {})
            return [
                it | {"value": metadata.get(it["path"].rpartition("/")[2], "1")}
                if isinstance(it, dict) and it.get("value") == "live"
                else self._own(it)
                for it in value
            ]
        return value

    def _shown(self, code, body, warnings):
        body = self._same(body)
        if body.get("status") == "Failure" and len(body.get("details", {}).get("causes", ())) > 1:
            del body["message"]  # which is made of the causes, in any order
        return {"code": code, "body": body, "warnings": sorted({it.split(" ", 2)[2] for it in warnings})}

    def _same(self, value, key=""):
        """Return a value without what is each server's own choice: ids, times, revisions, order of sets."""
        match value:
            case dict():
                value = {name: self._same(it, name) for name, it in value.items() if name != "time"}
                for name in {"managedFields", "causes"} & set(value):
                    texts = sorted({json.dumps(it, sort_keys=True) for it in value[name] or ()})
                    value[name] = [json.loads(it) for it in texts]
                return value
            case list():
                return [self._same(it) for it in value]
            case str():
                return self._same_text(value, key)
        return value

    def _same_text(self, text, key):
        if key in {"uid", "resourceVersion"} and text not in {"", "1", "other"}:
            number = sum(1 for name, _ in self.names if name == key)
            return self.names.setdefault((key, text), f"{key} {number}")
        if key == "message":
            text = _OBJECT.sub('Invalid value: "{...}": ', text)  # a whole object, in an order of its own
            text = _COMPARISON.sub("", text)
            for (name, known), shown in self.names.items():
                if name == "uid":
                    text = text.replace(known, shown)
        return _TIME.sub("T", text)


_OBJECT = re.compile(r'Invalid value: "(\{\\"|map\[).*": (?=[a-z])')
_COMPARISON = re.compile(r"\n@@ .*", re.DOTALL)  # of two structs of Go, which the embedded server leaves out
_TIME = re.compile(r"20(2[1-9]|[3-9]\d)-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@asynccontextmanager
async def client(plane):
    user = User.of(plane)
    connector = aiohttp.TCPConnector(ssl=ssl_context_of(user.kubeconfig), limit=0)
    async with aiohttp.ClientSession(connector=connector, headers=headers_of(user.kubeconfig)) as session:
        one = Client(user, session)
        await one.send("POST", CRDS, {}, DEFINITION)
        await one.send("POST", ACCOUNTS, {}, {"metadata": {"name": "default"}})

        async def served():
            async with session.get(f"{user.server}{KINDS['Rich'].path}") as answer:
                return answer.status == 200  # what is not served yet is refused in plain text

        await eventually(served, timeout=60)
        yield one
    for _ in range(3):  # aborted transports are closed by the loop, not at once
        await asyncio.sleep(0)


@pytest.fixture(scope="module")
def planes():
    with start("embedded", controllers="") as embedded, start("real", controllers="") as real:
        yield embedded, real


async def test_random_sequences_of_requests_are_answered_alike(planes):
    async with client(planes[0]) as embedded, client(planes[1]) as real:
        both = (embedded, real)
        for seed in range(SEQUENCES):
            dice = Dice(seed)
            steps = dice.steps()
            await asyncio.gather(*(it.begin(dice.kind) for it in both))
            for position, step in enumerate(steps):
                own, theirs = await asyncio.gather(*(it.take(step) for it in both))
                assert own == theirs, f"seed {seed}, {dice.kind.kind}: {json.dumps(steps[: position + 1])}"
            own, theirs = await asyncio.gather(*(it.events() for it in both))
            assert own == theirs, f"the events of seed {seed}, {dice.kind.kind}: {json.dumps(steps)}"
