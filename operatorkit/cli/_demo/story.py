"""What the demo does and checks, step by step, and how it tells it."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from functools import partial
from importlib import resources
from typing import Any, TypeVar

import click
import yaml
from cryptography import x509

from operatorkit.cli._describe import describe_pod
from operatorkit.cluster import ClusterAPI, JSONObject, PatchType
from operatorkit.errors import ClusterError, NotFound, OperatorKitError
from operatorkit.names import ApiResource, GroupVersionKind

__all__ = ["Story", "StoryError"]

T = TypeVar("T")

_PATIENCE_SECONDS = 60.0
_FAULTS_IN_MALFORMED = 3
_MANAGER = "platform-engineer"
PODS = ApiResource("", "v1", "Pod", "pods", namespaced=True)
SECRETS = ApiResource("", "v1", "Secret", "secrets", namespaced=True)
EVENTS = ApiResource("", "v1", "Event", "events", namespaced=True)
NAMESPACES = ApiResource("", "v1", "Namespace", "namespaces", namespaced=False)

VALIDATING = ApiResource(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingWebhookConfiguration",
    "validatingwebhookconfigurations",
    namespaced=False,
)


class StoryError(OperatorKitError):
    """The demo did not go as told; the message says what was expected and what was found."""


class Story:
    """The chapters of the demo; each raises StoryError when the cluster does not do what the text says."""

    def __init__(self, api: ClusterAPI, *, started: float) -> None:
        self._api = api
        self._started = started

    def say(self, text: str) -> None:
        """Print a chapter's headline with the time since the start."""
        click.echo()
        click.secho(f"[{time.monotonic() - self._started:5.1f}s] {text}", bold=True)

    async def install(self, definitions: Iterable[JSONObject]) -> None:
        """Create the custom resource definitions and the namespaces."""
        names = [await self._apply(definition) for definition in definitions]
        for name in ("pki-system", "shop"):
            await self._apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for name in names:
            await self._until(f"CRD {name} is established", partial(self._established, name))
            click.echo(f"  customresourcedefinition/{name} established")

    async def prepare_the_platform(self) -> None:
        """Create a root CA, a cluster issuer and the policy."""
        await self._apply_file("platform.yaml")
        issuers = await self._api.resolve("pki.operatorkit.dev", "ClusterIssuer")
        await self._until("ClusterIssuer default is ready", lambda: self._condition(issuers, "default", None, "Ready"))
        click.echo("  clusterissuer/default is Ready: it signs with the CA in Secret pki-system/root-ca")
        click.echo("  certificatepolicy/teams-and-their-services allows <name>.{{namespace}}.svc to every team")

    async def issue_for_the_team(self) -> None:
        """Let the team ask for a certificate by the name of its service, and run a pod with it."""
        self._show("team.yaml", "kind: Pki")
        await self._apply_file("team.yaml")
        pod = await self._until("pod web runs", lambda: self._pod_in("web", "Running"))
        secret = await self._api.get(SECRETS, "web-tls", namespace="shop")
        chain = x509.load_pem_x509_certificates(base64.b64decode(secret["data"]["tls.crt"]))
        names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        chain[0].verify_directly_issued_by(x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["ca.crt"])))
        click.echo(f"  secret/web-tls holds {', '.join(sorted(secret['data']))}")
        click.echo(f"  names  {', '.join(names.get_values_for_type(x509.DNSName))}")
        click.echo(f"  issuer {chain[0].issuer.rfc4514_string()}, until {chain[0].not_valid_after_utc:%Y-%m-%d}")
        click.echo(f"  pod/web is {pod['status']['phase']} and mounts it")

    async def refuse_at_the_door(self) -> None:
        """Ask for what can never be right: the operator's webhook refuses it before it is stored."""
        await self._until("the webhook of Certificates is registered", self._registered)
        self._show("malformed.yaml", "kind: Certificate")
        try:
            await self._apply_file("malformed.yaml")
        except ClusterError as error:
            click.echo(f"  refused at once, and nothing is stored ({error.code} {error.reason}):")
            for cause in error.causes:
                click.secho(f"    {cause.field}: {cause.message}", fg="yellow")
            if len(error.causes) < _FAULTS_IN_MALFORMED:
                raise StoryError(f"expected {_FAULTS_IN_MALFORMED} causes; found: {error}") from error
        else:
            raise StoryError("expected that Certificate shop/mail is refused; found: it was stored")
        click.echo("  What can be judged by itself is refused here, to whoever applies it.")
        click.echo(
            "  What depends on others, such as a policy or an issuer, is told later, at the pod that waits: next."
        )

    async def refuse_a_wrong_name(self) -> None:
        """Ask for a name that the policy forbids, and look where the application's owner looks."""
        self._show("wrong.yaml", "kind: Certificate")
        await self._apply_file("wrong.yaml")
        await self._until("pod payments is told why it waits", lambda: self._event("payments", "DeniedByPolicy"))
        click.echo("  ... they try a shorter duration, which was not the fault: the same Event counts on")
        await self._apply_file("wrong-again.yaml")
        await self._until("the Event counts to two", lambda: self._event("payments", "DeniedByPolicy", count=2))
        await self._until("the kubelet says what it waits for", lambda: self._event("payments", "FailedMount"))
        pod = await self._api.get(PODS, "payments", namespace="shop")
        click.echo("  pod/payments waits. What `kubectl describe pod payments -n shop` shows its owner:")
        click.echo()
        click.secho(_indent(describe_pod(pod, await self._events("payments"), datetime.now(UTC))), fg="yellow")

    async def correct_it(self) -> None:
        """Apply the corrected request and see the pod run."""
        self._show("corrected.yaml", "kind: Certificate")
        await self._apply_file("corrected.yaml")
        await self._until("pod payments runs", lambda: self._pod_in("payments", "Running"))
        await self._until("pod payments is told of the recovery", lambda: self._event("payments", "CertificateIssued"))
        pod = await self._api.get(PODS, "payments", namespace="shop")
        click.echo()
        click.secho(_indent(describe_pod(pod, await self._events("payments"), datetime.now(UTC))), fg="green")

    async def _apply_file(self, name: str) -> None:
        for obj in yaml.safe_load_all(_text(name)):
            await self._apply(obj)

    async def _apply(self, obj: JSONObject) -> str:
        gvk, meta = GroupVersionKind.of(obj["apiVersion"], obj["kind"]), obj["metadata"]
        resource = await self._api.resolve(gvk.group, gvk.kind, gvk.version)
        await self._api.patch(
            resource,
            meta["name"],
            obj,
            namespace=meta.get("namespace"),
            patch_type=PatchType.APPLY,
            field_manager=_MANAGER,
        )
        return str(meta["name"])

    async def _until(self, what: str, check: Callable[[], Awaitable[T | None]]) -> T:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        last: object = None
        while time.monotonic() < deadline:
            try:
                found = await check()
            except NotFound as error:
                last = error
            else:
                if found:
                    return found
                last = found
            await asyncio.sleep(0.05)
        raise StoryError(f"expected within {_PATIENCE_SECONDS:.0f} s: {what}; found: {last or 'nothing of the kind'}")

    async def _established(self, name: str) -> bool:
        crds = ApiResource(
            "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
        )
        return await self._condition(crds, name, None, "Established")

    async def _condition(self, resource: ApiResource, name: str, namespace: str | None, type_: str) -> bool:
        obj = await self._api.get(resource, name, namespace=namespace)
        conditions: list[dict[str, Any]] = obj.get("status", {}).get("conditions") or []
        return any(condition["type"] == type_ and condition["status"] == "True" for condition in conditions)

    async def _registered(self) -> bool:
        webhooks = (await self._api.list(VALIDATING)).items
        rules = [rule for item in webhooks for hook in item.get("webhooks") or () for rule in hook.get("rules") or ()]
        return any("certificates" in rule.get("resources", ()) for rule in rules)

    async def _pod_in(self, name: str, phase: str) -> JSONObject | None:
        pod = await self._api.get(PODS, name, namespace="shop")
        return pod if pod.get("status", {}).get("phase") == phase else None

    async def _events(self, pod: str) -> list[JSONObject]:
        found = await self._api.list(
            EVENTS, namespace="shop", field_selector=f"involvedObject.kind=Pod,involvedObject.name={pod}"
        )
        return found.items

    async def _event(self, pod: str, reason: str, *, count: int = 1) -> JSONObject | None:
        events = [event for event in await self._events(pod) if event["reason"] == reason]
        if len(events) > 1:
            raise StoryError(f"expected one Event {reason} about pod {pod}, with a count; found {len(events)} Events")
        return events[0] if events and (events[0].get("count") or 1) >= count else None

    def _show(self, name: str, start: str) -> None:
        """Print the document of a manifest that contains `start`, as a person would type it."""
        (document,) = (part for part in _text(name).split("---\n") if start in part)
        click.secho(_indent(document.rstrip()), dim=True)


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _indent(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
