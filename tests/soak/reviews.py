"""One-byte mutants of admission reviews: each is answered by a named error or a verdict, and none is wrongly allowed.

    python -m soak.reviews [--mutants N] [--first SEED]

What a webhook should say of a mutant is found out a second time, from the JSON alone, without the code under test.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import logging
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from operatorkit import AdmissionRequest, Allowed, Denied, Model, Mutated, Operator, Resource
from operatorkit.controlplane.embedded.fields.patch import json_patch as apply_patch
from operatorkit.resource import NoStatus
from operatorkit.webhooks.dispatch import Answer, Dispatcher

__all__ = ["Findings", "run"]

_REASONS = {"BadRequest", "Forbidden", "Invalid"}
_MAX_MESSAGE = 2_000
_LAX = {3: 3, "3": 3}  # what pydantic reads as 3; an API server with the schema sends the number only


class CrateSpec(Model):
    size: int = 1
    owner: str = ""
    tags: dict[str, str] = {}
    shelves: list[int] = []


class Crate(Resource[CrateSpec, NoStatus], group="soak.example.io", version="v1"):
    """A crate of size 3 that belongs to ann; any other is denied."""


app = Operator("crates")


@app.validate(Crate, operations=["CREATE", "UPDATE", "DELETE"])
async def validate(new: Crate | None, old: Crate | None, request: AdmissionRequest) -> Allowed | Denied:
    return _verdict(new or old)


@app.mutate(Crate)
async def mutate(crate: Crate, request: AdmissionRequest) -> Mutated[Crate] | Denied:
    denied = _verdict(crate)
    if isinstance(denied, Denied):
        return denied
    crate.spec.tags = {**crate.spec.tags, "seen": "yes"}
    return Mutated(crate)


def _verdict(crate: Crate | None) -> Allowed | Denied:
    if crate is None or crate.spec.size != 3 or crate.spec.owner != "ann":
        return Denied("only crates of size 3 that belong to ann")
    return Allowed()


@dataclass
class Findings:
    """What came of the mutants: how often each outcome, and those that went wrong, each with its bytes."""

    outcomes: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def run(seeds: range) -> Findings:
    """Send one mutant for each seed, in turn to each webhook, and judge the answers."""
    return asyncio.run(_run(seeds))


async def _run(seeds: range) -> Findings:
    found = Findings()
    dispatcher = Dispatcher(app.webhooks)
    for seed in seeds:
        rng = random.Random(seed)
        webhook = app.webhooks[seed % len(app.webhooks)]
        body = _mutant(rng, rng.choice(list(_reviews(webhook.verb))))
        try:
            answer = await dispatcher.answer(webhook, body, seconds=60)
            outcome, error_found = _evaluated(webhook.verb, body, answer)
        except Exception as error:  # noqa: BLE001 - just this is looked for
            outcome, error_found = "escaped", f"{type(error).__name__}: {error}"
        found.outcomes[outcome] += 1
        if error_found:
            found.wrong.append(f"seed {seed}: {webhook.verb}: {error_found}: {body!r}")
    dispatcher.close()
    return found


def _reviews(verb: str) -> Iterator[bytes]:
    good, bad = _crate(3), _crate(4)
    yield _review("CREATE", good, None)
    yield _review("CREATE", bad, None)
    yield _review("UPDATE", good, bad)
    yield _review("UPDATE", bad, bad)
    if verb == "validate":
        yield _review("DELETE", None, good)
        yield _review("DELETE", None, bad)


def _crate(size: int) -> dict[str, Any]:
    return {
        "apiVersion": Crate.api_version,
        "kind": "Crate",
        "metadata": {"name": "a", "namespace": "team", "uid": "u-1", "labels": {"é": "\u20ac"}, "generation": 1},
        "spec": {"size": size, "owner": "ann", "tags": {"a": "b"}, "shelves": [1, -2, 30], "unknown": [1.5, None]},
    }


def _review(operation: str, new: dict[str, Any] | None, old: dict[str, Any] | None) -> bytes:
    kind = {"group": "soak.example.io", "version": "v1", "kind": "Crate"}
    request = {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "kind": kind,
        "resource": {"group": "soak.example.io", "version": "v1", "resource": "crates"},
        "name": "a",
        "namespace": "team",
        "operation": operation,
        "userInfo": {"username": "ann", "uid": "7", "groups": ["dev"], "extra": {"scopes": ["x"]}},
        "object": new,
        "oldObject": old,
        "dryRun": False,
        "options": None,
    }
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    return json.dumps(review, ensure_ascii=False, separators=(",", ":")).encode()  # as Go writes it


def _mutant(rng: random.Random, body: bytes) -> bytes:
    """Change, add or leave out one byte; half of the new bytes are ones that JSON gives a meaning."""
    at = rng.randrange(len(body))
    byte = bytes([rng.choice(b'"\\{}[],:0123456789-+.eEtfn \x00u') if rng.random() < 0.5 else rng.randrange(256)])
    return body[:at] + rng.choice([byte, byte, byte + body[at : at + 1], b""]) + body[at + 1 :]


def _evaluated(verb: str, body: bytes, answer: Answer) -> tuple[str, str | None]:
    """Return what an answer was, and what is wrong with it."""
    if answer.status != 200:
        return f"HTTP {answer.status} {answer.body['reason']}", _named(answer.body)
    sent = json.loads(body)["request"]
    response = answer.body["response"]
    if response["uid"] != sent["uid"]:
        return "answered", "the answer has another uid"
    if not response["allowed"]:
        return f"denied {response['status']['reason']}", _named(response["status"])
    if not _is_allowed(sent):
        return "allowed", "wrongly allowed"
    if verb == "mutate":
        patch = json.loads(base64.b64decode(response["patch"]))
        expected = {**sent["object"], "spec": {**sent["object"]["spec"]}}
        expected["spec"]["tags"] = {**(expected["spec"].get("tags") or {}), "seen": "yes"}
        if apply_patch(json.loads(body)["request"]["object"], patch) != expected:
            return "allowed", "the patch does something else than the function"
    return "allowed", None


def _named(status: dict[str, Any]) -> str | None:
    if status["reason"] not in _REASONS:
        return f"the reason is {status['reason']}"
    if not 10 < len(status["message"]) <= _MAX_MESSAGE:
        return f"the message has {len(status['message'])} characters"
    return None


def _is_allowed(sent: dict[str, Any]) -> bool:
    """Decide from the JSON alone; and nothing is allowed that is not just what the webhook is for."""
    obj = sent["oldObject"] if sent["operation"] == "DELETE" else sent["object"]
    identity = (obj["apiVersion"], obj["kind"], sent["kind"]["group"], sent["kind"]["version"], sent["kind"]["kind"])
    if identity != (Crate.api_version, "Crate", "soak.example.io", "v1", "Crate") or sent.get("subResource"):
        return False
    if sent["operation"] not in {"CREATE", "UPDATE", "DELETE"}:
        return False
    spec = obj.get("spec") or {}
    return _LAX.get(spec.get("size")) == 3 and spec.get("owner") == "ann"


def main() -> int:
    """Run what the command line asks for; the exit code is 1 when something went wrong."""
    parser = argparse.ArgumentParser(prog="python -m soak.reviews", description="One-byte mutants of reviews.")
    parser.add_argument("--mutants", type=int, default=30_000, help="how many (default: 30000)")
    parser.add_argument("--first", type=int, default=0, help="the seed of the first (default: 0)")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    found = run(range(options.first, options.first + options.mutants))
    for outcome, times in found.outcomes.most_common():
        print(f"{times:8} {outcome}")
    for each in found.wrong[:20]:
        print(each)
    print(f"{options.mutants} mutants of reviews, {len(found.wrong)} went wrong")
    return 1 if found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
