"""The story of attestation: an image that was not tested is denied, and runs once its tests are attested."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import click
import yaml

from operatorkit.cli._demo.processes import metadata_server
from operatorkit.cli._demo.stage import Stage, StoryError, indent
from operatorkit.cluster import ClusterAPI, JSONObject
from operatorkit.errors import Forbidden
from operatorkit.kinds import PODS, VALIDATING_WEBHOOK_CONFIGURATIONS

__all__ = ["AttestationStory"]

_GROUP = "attest.operatorkit.dev"
_API_VERSION = f"{_GROUP}/v1alpha1"
_PROJECT, _NOTE = "projects/shop", "projects/shop/notes/qa"
_USER = "qa@shop.example"
_POD = "checkout"
_SERVE = ("attest", "serve", "--database", "sqlite:///attest.db", "--port", "0")


class AttestationStory(Stage):
    """The chapters about images; each raises StoryError when the cluster does not do what the text says."""

    namespace: ClassVar[str] = "prod"

    def __init__(self, api: ClusterAPI, *, started: float, kubeconfig: Path, folder: Path) -> None:
        super().__init__(api, started=started, kubeconfig=kubeconfig)
        self._folder = folder
        self._url = ""

    async def start_the_server(self, stack: contextlib.ExitStack) -> None:
        """Start the metadata server, which `stack` stops, and create a key and a note."""
        click.echo(f"    $ operatorkit {' '.join(_SERVE)} &")
        log = stack.enter_context(metadata_server(_SERVE, self._folder))
        create_key = ("attest", "keygen", "--type", "PGP", "--user", _USER, "--output", "qa")
        self._url, _ = await asyncio.gather(
            self.until("the metadata server serves", lambda: _served(log)),
            self.command(*create_key, cwd=self._folder),
        )
        click.echo(f"  serving {self._url}")
        await self._post(f"{_PROJECT}/notes?noteId=qa", {"attestation": {}})
        click.echo(f"  note {_NOTE} is created: who may attach occurrences to it speaks for QA")

    async def require_tests(self) -> None:
        """Create the authority with the public key, and the policy of the namespace."""
        self.show("attestation-policy.yaml", "kind: ImagePolicy")
        server = {"metadata": {"name": "default"}, "spec": {"url": self._url}}
        await self.apply({"apiVersion": _API_VERSION, "kind": "GrafeasServer", **server})
        key = {"id": _USER, "publicKey": (self._folder / "qa.pub").read_text()}
        await self.apply(
            {
                "apiVersion": _API_VERSION,
                "kind": "AttestationAuthority",
                "metadata": {"name": "qa", "namespace": self.namespace},
                "spec": {"noteReference": _NOTE, "keys": [key]},
            }
        )
        await self.apply_file("attestation-policy.yaml")
        for kind, name in (("AttestationAuthority", "qa"), ("ImagePolicy", "tested-only")):
            resource = await self.api.resolve(_GROUP, kind)
            await self.until(
                f"{kind} {name} is ready",
                lambda resource=resource, name=name: self.condition(  # type: ignore[misc]
                    resource, name, self.namespace, "Ready"
                ),
            )
        await self.until("the webhook of Pods is registered", self._registered)
        click.echo("  attestationauthority/qa and imagepolicy/tested-only are Ready")

    async def deny(self) -> None:
        """Create a pod with an image that nothing is known of, and show what its user reads."""
        self.show("attestation-pod.yaml", "kind: Pod")
        try:
            await self.apply_file("attestation-pod.yaml")
        except Forbidden as error:
            click.echo("    $ kubectl apply -f checkout.yaml")
            click.secho(indent(f"Error from server (Forbidden): {error.message}"), fg="yellow")
        else:
            raise StoryError(
                f"expected that pod {self.namespace}/{_POD} is denied; found: it was created"
            )

    async def attest(self) -> None:
        """Sign the digest of the image and upload the occurrence, as CI does once the tests have passed."""
        signed = await self.command(
            *("attest", "sign", _image(), "--type", "PGP", "--key", "qa.key", "--note", _NOTE),
            cwd=self._folder,
            redirect="occurrence.json",
        )
        occurrence = await self._post(f"{_PROJECT}/occurrences", json.loads(signed))
        click.echo(f"  occurrence {occurrence['name']} is created")

    async def admit(self) -> None:
        """Create the same pod again and see it run."""
        click.echo("    $ kubectl apply -f checkout.yaml")
        await self.until("the pod is admitted", self._admitted)
        click.secho(indent(f"pod/{_POD} created"), fg="green")
        pod = await self.until(f"pod {_POD} runs", self._runs)
        click.echo(f"  pod/{_POD} is {pod['status']['phase']}")

    async def _admitted(self) -> bool:
        """Whether the API server accepts the pod; a denial counts for two seconds at most."""
        with contextlib.suppress(Forbidden):
            await self.apply_file("attestation-pod.yaml")
            return True
        return False

    async def _runs(self) -> JSONObject | None:
        pod = await self.api.get(PODS, _POD, namespace=self.namespace)
        return pod if pod.get("status", {}).get("phase") == "Running" else None

    async def _registered(self) -> bool:
        webhooks = (await self.api.list(VALIDATING_WEBHOOK_CONFIGURATIONS)).items
        rules = [
            rule
            for item in webhooks
            for hook in item.get("webhooks") or ()
            for rule in hook.get("rules") or ()
        ]
        return any("pods" in rule.get("resources", ()) for rule in rules)

    async def _post(self, path: str, body: Mapping[str, Any]) -> JSONObject:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session,
            session.post(f"{self._url}/v1/{path}", json=body) as response,
        ):
            if response.status != 200:
                text = await response.text()
                raise StoryError(
                    f"expected that POST /v1/{path} succeeds; found: HTTP {response.status}: {text}"
                )
            created: JSONObject = await response.json()
            return created


def _image() -> str:
    text = resources.files(__package__).joinpath("attestation-pod.yaml").read_text(encoding="utf-8")
    return str(yaml.safe_load(text)["spec"]["containers"][0]["image"])


async def _served(log: Path) -> str | None:
    text = await asyncio.to_thread(log.read_text)
    found = re.search(r"^serving (http://\S+)$", text, re.MULTILINE)
    return found[1] if found else None
