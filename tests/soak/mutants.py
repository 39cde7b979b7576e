"""One byte of an input is another one, missing or one too many: python -m soak.mutants [--each N] [--seed SEED].

Kubeconfigs, definitions and values of charts are changed at random, at the same places for the same seed. Whatever comes of
it must have a name: it is taken, or the error is one of ours that says what is wrong (for values: one of the schema's).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import jsonschema
import yaml
from kubernetes.client.models import V1ResourceRequirements
from pydantic import Field
from yarl import URL

from operatorkit import Model, PrinterColumn, Resource, Rule
from operatorkit.chart.values import operator_values, schema_text, values_text
from operatorkit.clock import SYSTEM_CLOCK
from operatorkit.cluster import ClusterAPI, load_config
from operatorkit.controlplane._credentials import Authority
from operatorkit.controlplane.embedded.server import EmbeddedServer
from operatorkit.crd.compatibility import losses
from operatorkit.errors import ClusterError, InputError
from operatorkit.names import ApiResource
from operatorkit.resource import Duration, IntOrString, ListMap, Nullable, Quantity, Scale

__all__ = ["KINDS", "Outcome", "try_all"]

_CRDS = ApiResource(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
_INTERNAL = 500


@dataclass(slots=True)
class Outcome:
    """What became of the mutants of one kind of input: how many were taken, were errors of each type, and are wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def mutant(data: bytes, rng: random.Random) -> bytes:
    """Return data in which one byte is another one, is missing, or is one too many."""
    at = rng.randrange(len(data))
    match rng.randrange(4):
        case 0:
            return data[:at] + data[at + 1 :]
        case 1:
            return data[:at] + bytes([rng.randrange(256)]) + data[at:]
        case 2:
            return data[:at] + bytes([rng.choice(b" \n\t\"'{}[]:,-#&*!|>%@`0xe")]) + data[at + 1 :]
        case _:
            return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]


def kubeconfig() -> bytes:
    """Return a kubeconfig with all that one may hold."""
    authority = Authority.create("mutants", clock=SYSTEM_CLOCK)
    encoded = base64.b64encode(authority.cert_pem).decode()
    users: dict[str, dict[str, Any]] = {
        "token": {"token": "t0", "as": "me", "as-groups": ["a", "b"], "as-user-extra": {"k": ["v"]}},
        "basic": {"username": "me", "password": "secret"},
        "file": {"tokenFile": "/does/not/exist"},
        "plugin": {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/none", "args": ["a"],
                            "env": [{"name": "A", "value": "b"}], "interactiveMode": "Never"}},
        "nobody": {},
    }  # fmt: skip
    cluster = {"server": "https://127.0.0.1:6443/k8s", "certificate-authority-data": encoded, "proxy-url": "http://p:1"}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "token",
        "clusters": [{"name": "k", "cluster": {**cluster, "tls-server-name": "a"}}],
        "users": [{"name": name, "user": user} for name, user in users.items()],
        "contexts": [{"name": name, "context": {"cluster": "k", "user": name, "namespace": "n"}} for name in users],
    }
    return yaml.safe_dump(content, sort_keys=False).encode()


class _Port(Model):
    name: str
    number: Annotated[int, Field(ge=1, le=65535)]


class _Spec(Model):
    class_rules = (Rule("self.size > 0", message="must be positive", field_path=".size"),)

    size: Annotated[int, Field(ge=0, le=9)] = 1
    mode: Literal["a", "b"] = "a"
    ports: Annotated[list[_Port], ListMap("name")] = []
    labels: dict[str, str] = {"a": "b"}
    quantity: Quantity | None = None
    either: IntOrString = "50%"
    after: Duration | None = None
    note: Annotated[str | None, Nullable(), Field(max_length=20, pattern="^[a-z]*$")] = None
    resources: V1ResourceRequirements | None = None


class _Status(Model):
    replicas: int = 0


class Fuzzed(
    Resource[_Spec, _Status],
    group="mutants.example.io",
    version="v1",
    short_names=["fz"],
    categories=["all"],
    printer_columns=[PrinterColumn("Size", ".spec.size", type="integer")],
    scale=Scale(spec_replicas_path=".spec.size"),
    selectable_fields=[".spec.mode"],
    deprecated="soon",
):
    """A kind with all that a definition may have."""


async def _try_kubeconfig(data: bytes, folder: Path, api: ClusterAPI) -> str:
    del api
    path = folder / "config"
    path.write_bytes(data)
    config = load_config(path)
    assert URL(config.server).host, f"{config.server} has no host"
    for _, value in await config.credentials.headers(now=0):
        assert not set(value) & set("\r\n\0"), "a header cannot be sent"
    return "taken"


async def _try_definition(data: bytes, folder: Path, api: ClusterAPI) -> str:
    del folder
    try:
        obj = json.loads(data, parse_constant=_no_constant)
    except ValueError:
        return "no JSON"
    if not isinstance(obj, dict):
        return "no object"
    made = await api.create(_CRDS, obj, dry_run=True)
    losses(made, Fuzzed.crd())
    losses(Fuzzed.crd(), made)
    return "taken"


def _no_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


_SCHEMA = json.loads(schema_text(operator_values("registry.example.io/op", grace_seconds=30)))
_VALIDATOR = jsonschema.Draft202012Validator(_SCHEMA)


async def _try_values(data: bytes, folder: Path, api: ClusterAPI) -> str:
    del folder, api
    try:
        values = yaml.safe_load(data)
    except (yaml.YAMLError, ValueError) as error:  # a date or a number that there cannot be is a ValueError
        return f"no YAML: {type(error).__name__}"
    error = jsonschema.exceptions.best_match(_VALIDATOR.iter_errors(values))
    if error is None:
        return "taken"
    assert error.message, "a fault without a word"
    return "refused by the schema"


Try = Callable[[bytes, Path, ClusterAPI], Awaitable[str]]
KINDS: dict[str, tuple[Callable[[], bytes], Try]] = {
    "kubeconfigs": (kubeconfig, _try_kubeconfig),
    "definitions": (lambda: json.dumps(Fuzzed.crd(), indent=1).encode(), _try_definition),
    "values": (
        lambda: values_text(operator_values("registry.example.io/op", grace_seconds=30)).encode(),
        _try_values,
    ),
}


async def try_all(kind: str, *, count: int, seed: int) -> Outcome:
    """Try so many mutants of a kind of input."""
    make, attempt = KINDS[kind]
    original, rng, outcome = make(), random.Random(f"{kind} {seed}"), Outcome()
    with tempfile.TemporaryDirectory() as folder:
        async with EmbeddedServer(tls=False, controllers="") as server:
            assert await attempt(original, Path(folder), server.local) == "taken"
            for number in range(count):
                data = mutant(original, rng)
                try:
                    result = await attempt(data, Path(folder), server.local)
                except InputError:
                    result = "InputError"
                except ClusterError as error:
                    result = f"{type(error).__name__} {error.code}"
                    if error.code >= _INTERNAL:
                        outcome.wrong.append(f"{number}: {error}")
                except Exception as error:  # noqa: BLE001 - this is what is looked for
                    result = f"!!! {type(error).__name__}"
                    outcome.wrong.append(f"{number}: {type(error).__name__}: {error}: {_around(original, data)!r}")
                outcome.counts[result] += 1
    return outcome


def _around(original: bytes, data: bytes) -> bytes:
    """Return what surrounds the byte that is another one."""
    at = next((at for at, (one, other) in enumerate(zip(original, data, strict=False)) if one != other), len(data))
    return data[max(0, at - 30) : at + 30]


def main() -> int:
    """Run what the command line asks for; the exit code is 1 when an outcome has no name."""
    parser = argparse.ArgumentParser(prog="python -m soak.mutants", description=__doc__)
    parser.add_argument("--each", type=int, default=10_000, help="how many mutants of each input (default: 10000)")
    parser.add_argument("--only", choices=KINDS, action="append", help="one kind of input (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    failed = False
    for kind in options.only or KINDS:
        started = time.monotonic()
        outcome = asyncio.run(try_all(kind, count=options.each, seed=options.seed))
        print(f"{datetime.now(UTC):%H:%M} {kind}: {options.each} in {time.monotonic() - started:.0f} s")
        for name, number in outcome.counts.most_common():
            print(f"  {number:6} {name}")
        for text in outcome.wrong[:20]:
            print(f"  WRONG {text}")
        failed = failed or bool(outcome.wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
