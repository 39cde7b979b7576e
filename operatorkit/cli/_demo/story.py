"""The story of pki: what it does and checks, step by step, and what it prints."""

from __future__ import annotations

import base64
from datetime import UTC, datetime

import click
from cryptography import x509

from operatorkit.cli._demo.stage import NAMESPACE, Stage, StoryError, indent
from operatorkit.cli._describe import describe_pod
from operatorkit.cluster import JSONObject
from operatorkit.errors import ClusterError
from operatorkit.kinds import PODS, SECRETS, VALIDATING_WEBHOOK_CONFIGURATIONS

__all__ = ["Story"]

_ERRORS_IN_MALFORMED = 3


class Story(Stage):
    """The chapters about certificates; each raises StoryError when the cluster does not do what the text says."""

    async def prepare_the_platform(self) -> None:
        """Create a root CA, a cluster issuer and the policy."""
        await self.apply_file("platform.yaml")
        issuers = await self.api.resolve("pki.operatorkit.dev", "ClusterIssuer")
        await self.until(
            "ClusterIssuer default is ready",
            lambda: self.condition(issuers, "default", None, "Ready"),
        )
        click.echo(
            "  clusterissuer/default is Ready: it signs with the CA in Secret pki-system/root-ca"
        )
        click.echo(
            "  certificatepolicy/teams-and-their-services allows <name>.{{namespace}}.svc to every team"
        )

    async def issue_for_the_team(self) -> None:
        """Let the team ask for a certificate by the name of its service, and run a pod with it."""
        self.show("team.yaml", "kind: Pki")
        await self.apply_file("team.yaml")
        pod = await self.until("pod web runs", lambda: self._pod_in("web", "Running"))
        secret = await self.api.get(SECRETS, "web-tls", namespace=NAMESPACE)
        chain = x509.load_pem_x509_certificates(base64.b64decode(secret["data"]["tls.crt"]))
        names = chain[0].extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        chain[0].verify_directly_issued_by(
            x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["ca.crt"]))
        )
        click.echo(f"  secret/web-tls holds {', '.join(sorted(secret['data']))}")
        click.echo(f"  names  {', '.join(names.get_values_for_type(x509.DNSName))}")
        click.echo(
            f"  issuer {chain[0].issuer.rfc4514_string()}, valid until {chain[0].not_valid_after_utc:%Y-%m-%d}"
        )
        click.echo(f"  pod/web is {pod['status']['phase']} and mounts it")

    async def reject_at_admission(self) -> None:
        """Ask for what can never be right: the operator's webhook rejects it before it is stored."""
        await self.until("the webhook of Certificates is registered", self._registered)
        self.show("malformed.yaml", "kind: Certificate")
        try:
            await self.apply_file("malformed.yaml")
        except ClusterError as error:
            click.echo(f"  rejected at once, and nothing is stored ({error.code} {error.reason}):")
            for cause in error.causes:
                click.secho(f"    {cause.field}: {cause.message}", fg="yellow")
            if len(error.causes) < _ERRORS_IN_MALFORMED:
                raise StoryError(
                    f"expected {_ERRORS_IN_MALFORMED} causes; found: {error}"
                ) from error
        else:
            raise StoryError(
                "expected that Certificate shop/mail is rejected; found: it was stored"
            )
        click.echo(
            "  A field that is invalid by itself is rejected here, with an error for the user who applies it."
        )
        click.echo(
            "  An error that depends on other objects, such as a policy, is reported on the pod that waits, as below."
        )

    async def reject_a_wrong_name(self) -> None:
        """Ask for a name that the policy forbids, and look where the application's owner looks."""
        self.show("wrong.yaml", "kind: Certificate")
        await self.apply_file("wrong.yaml")
        await self.until(
            "pod payments has an Event that says why it waits",
            lambda: self.event("Pod", "payments", "DeniedByPolicy"),
        )
        click.echo(
            "  The team tries a shorter duration, which is not the cause: the count of the same Event increases."
        )
        await self.apply_file("wrong-again.yaml")
        await self.until(
            "the Event counts to two",
            lambda: self.event("Pod", "payments", "DeniedByPolicy", count=2),
        )
        await self.until(
            "the kubelet says what it waits for",
            lambda: self.event("Pod", "payments", "FailedMount"),
        )
        pod = await self.api.get(PODS, "payments", namespace=NAMESPACE)
        click.echo("  pod/payments waits. Its owner runs `kubectl describe pod payments -n shop`:")
        click.echo()
        click.secho(
            indent(describe_pod(pod, await self.events("Pod", "payments"), datetime.now(UTC))),
            fg="yellow",
        )

    async def correct_it(self) -> None:
        """Apply the corrected request and see the pod run."""
        self.show("corrected.yaml", "kind: Certificate")
        await self.apply_file("corrected.yaml")
        await self.until("pod payments runs", lambda: self._pod_in("payments", "Running"))
        await self.until(
            "pod payments has an Event of the recovery",
            lambda: self.event("Pod", "payments", "CertificateIssued"),
        )
        pod = await self.api.get(PODS, "payments", namespace=NAMESPACE)
        click.echo()
        click.secho(
            indent(describe_pod(pod, await self.events("Pod", "payments"), datetime.now(UTC))),
            fg="green",
        )

    async def _registered(self) -> bool:
        webhooks = (await self.api.list(VALIDATING_WEBHOOK_CONFIGURATIONS)).items
        rules = [
            rule
            for item in webhooks
            for hook in item.get("webhooks") or ()
            for rule in hook.get("rules") or ()
        ]
        return any("certificates" in rule.get("resources", ()) for rule in rules)

    async def _pod_in(self, name: str, phase: str) -> JSONObject | None:
        pod = await self.api.get(PODS, name, namespace=NAMESPACE)
        return pod if pod.get("status", {}).get("phase") == phase else None
