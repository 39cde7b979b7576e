"""The kinds of attest.operatorkit.dev/v1alpha1.

What belongs here: the resource classes, their defaults, and the rules that the API server can check by itself. What
does not: what a policy means (`policy`) and what a key is worth (`signatures`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from operatorkit.conditions import Condition
from operatorkit.resource import (
    Duration,
    LabelSelector,
    Model,
    NoStatus,
    PrinterColumn,
    Resource,
    Rule,
    Time,
    exactly_one_of,
)

__all__ = [
    "GROUP",
    "AllowedCVE",
    "AttestationAuthority",
    "AuthorityKey",
    "AuthorityReference",
    "AuthoritySpec",
    "AuthorityStatus",
    "ClusterAttestationAuthority",
    "ClusterImagePolicy",
    "GrafeasServer",
    "GrafeasServerSpec",
    "ImageMatch",
    "ImagePolicy",
    "ImagePolicyException",
    "ImagePolicyExceptionSpec",
    "ImagePolicyExceptionStatus",
    "ImagePolicySpec",
    "ImagePolicyStatus",
    "ImageRevocation",
    "ImageRevocationSpec",
    "KeyStatus",
    "ProvenanceRule",
    "Require",
    "Threshold",
    "Use",
    "VulnerabilityRule",
]

GROUP = "attest.operatorkit.dev"
VERSION = "v1alpha1"

_CATEGORY = "attestation"
_AGE = PrinterColumn("Age", ".metadata.creationTimestamp", type="date")
_READY = PrinterColumn("Ready", '.status.conditions[?(@.type=="Ready")].status')
_REASON = PrinterColumn("Reason", '.status.conditions[?(@.type=="Ready")].reason', priority=1)

_NOTE = r"^projects/[A-Za-z0-9._~-]+(/locations/[A-Za-z0-9._~-]+)?/notes/[A-Za-z0-9._~-]+$"

Name = Annotated[str, Field(min_length=1, max_length=253)]
Pattern = Annotated[str, Field(min_length=1, max_length=512)]
Digest = Annotated[
    str, Field(pattern=r"^(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$")
]


class GrafeasServerSpec(Model):
    """Where a metadata server is."""

    url: Annotated[str, Field(max_length=2048, pattern=r"^https?://[^/?#]+$")]
    """URL of its REST API, without a path: https://grafeas.attestation-system:8443."""
    ca_bundle: Annotated[str, Field(max_length=65536)] | None = None
    """CA certificates in PEM that sign the certificate of the server; the system's by default."""
    token_file: Annotated[str, Field(max_length=1024)] | None = None
    """File in the operator's own container with the bearer token that it sends; read for each request."""


class GrafeasServerStatus(Model):
    """The state of the server, as the operator knows it."""

    conditions: list[Condition] = []
    """Ready: the server answers, and its changes are followed."""
    sequence: int | None = None
    """Number of the last change that was followed."""
    changed_digests: Annotated[list[str], Field(max_length=100)] = []
    """Digests of the last changes: running Pods with these images have been evaluated again."""
    changed_all: bool = False
    """Whether the last changes were so many that all running Pods have been evaluated again."""


class GrafeasServer(
    Resource[GrafeasServerSpec, GrafeasServerStatus],
    group=GROUP,
    version=VERSION,
    scope="Cluster",
    categories=[_CATEGORY],
    printer_columns=[_READY, PrinterColumn("URL", ".spec.url"), _REASON, _AGE],
):
    """A metadata server; authorities without a reference use the one named default."""


class AuthorityKey(Model):
    """A public key whose signatures count."""

    id: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the key in messages; it never decides which key verifies a signature."""
    type: Literal["PGP", "PKIX", "JWT", "DSSE", "Cosign"] = "PGP"
    """Kind of the key and of its signatures."""
    public_key: Annotated[str, Field(min_length=1, max_length=65536)]
    """Public key: for PGP the output of gpg --armor --export, otherwise PEM, -----BEGIN PUBLIC KEY-----."""
    signature_algorithm: (
        Literal[
            "RSA_PSS_2048_SHA256",
            "RSA_PSS_3072_SHA256",
            "RSA_PSS_4096_SHA256",
            "RSA_PSS_4096_SHA512",
            "RSA_SIGN_PKCS1_2048_SHA256",
            "RSA_SIGN_PKCS1_3072_SHA256",
            "RSA_SIGN_PKCS1_4096_SHA256",
            "RSA_SIGN_PKCS1_4096_SHA512",
            "ECDSA_P256_SHA256",
            "ECDSA_P384_SHA384",
            "ECDSA_P521_SHA512",
            "ED25519",
            "ML_DSA_65",
        ]
        | None
    ) = None
    """Algorithm of the signatures; an RSA key needs it, for others it follows from the key. Not for PGP."""
    not_before: Time | None = None
    """Time from which the key counts."""
    not_after: Time | None = None
    """Time from which the key does not count any more."""
    revoked_at: Time | None = None
    """Time from which no signature of the key counts, whenever it was made."""


class AuthoritySpec(Model):
    """Whose attestations count, and where they are."""

    note_reference: Annotated[str, Field(max_length=400, pattern=_NOTE)]
    """Note that attestations refer to: projects/PROJECT/notes/NOTE. An attestation of another note does not count."""
    server: Name = "default"
    """GrafeasServer that has the note."""
    keys: Annotated[list[AuthorityKey], Field(min_length=1, max_length=100)]
    """Keys of the authority; a signature by any of them counts."""
    identity: Literal["Digest", "Repository", "Exact"] = "Digest"
    """What the signed content must name: the digest; also the repository that the image is pulled from; or exactly the
    reference that the image has, with its tag."""
    max_age: Duration | None = None
    """How old a signature may be, by the time that it says itself; without it, any age."""


class KeyStatus(Model):
    """What is known of a key."""

    id: str
    """Name of the key in spec.keys."""
    fingerprint: str | None = None
    """Fingerprint of the key material."""
    not_after: Time | None = None
    """When the key expires by itself."""


class AuthorityStatus(Model):
    """Whether the authority can be used."""

    conditions: list[Condition] = []
    """Ready: all keys can be read, and one of them counts now."""
    keys: list[KeyStatus] = []
    """Keys by their ids."""


_AUTHORITY_COLUMNS = (_READY, PrinterColumn("Note", ".spec.noteReference"), _REASON, _AGE)


class AttestationAuthority(
    Resource[AuthoritySpec, AuthorityStatus],
    group=GROUP,
    version=VERSION,
    plural="attestationauthorities",
    categories=[_CATEGORY],
    printer_columns=_AUTHORITY_COLUMNS,
):
    """An authority for the image policies of its namespace."""


class ClusterAttestationAuthority(
    Resource[AuthoritySpec, AuthorityStatus],
    group=GROUP,
    version=VERSION,
    plural="clusterattestationauthorities",
    scope="Cluster",
    categories=[_CATEGORY],
    printer_columns=_AUTHORITY_COLUMNS,
):
    """An authority for all image policies."""


class ImageMatch(Model):
    """Which images a policy is about."""

    images: Annotated[list[Pattern], Field(min_length=1, max_length=1000)] = ["**"]
    """Patterns over registry and repository: * stays within one part, ** crosses parts. Of all policies of one kind,
    only those with the most specific matching pattern apply to an image."""
    namespace_selector: LabelSelector | None = None
    """Namespaces that the policy is about, by their labels; all by default. Only in a ClusterImagePolicy."""


class AuthorityReference(Model):
    """An authority."""

    name: Name
    """Name of the authority."""
    kind: Literal["AttestationAuthority", "ClusterAttestationAuthority"] = (
        "ClusterAttestationAuthority"
    )
    """AttestationAuthority, of the namespace of the policy, or ClusterAttestationAuthority."""


class Threshold(Model):
    """Several of several authorities."""

    count: Annotated[int, Field(ge=1, le=100)]
    """How many authorities must have attested, each by a key that counts for no other of them."""
    authorities: Annotated[list[AuthorityReference], Field(min_length=1, max_length=100)]
    """Authorities that can."""


class Require(Model):
    """Whose attestations an image needs: one of these."""

    class_rules = (exactly_one_of("allOf", "anyOf", "threshold"),)

    all_of: Annotated[list[AuthorityReference], Field(min_length=1, max_length=100)] | None = None
    """Each of these authorities."""
    any_of: Annotated[list[AuthorityReference], Field(min_length=1, max_length=100)] | None = None
    """One of these authorities."""
    threshold: Threshold | None = None
    """So many of these authorities."""


Severity = Literal["MINIMAL", "LOW", "MEDIUM", "HIGH", "CRITICAL", "ALLOW_ALL", "BLOCK_ALL"]


class AllowedCVE(Model):
    """A vulnerability that is accepted."""

    id: Annotated[str, Field(min_length=1, max_length=256)]
    """Its name: CVE-2024-1234, or the name of its note, which ends in that."""
    expires: Time | None = None
    """Time from which it is not accepted any more."""


class VulnerabilityRule(Model):
    """Which vulnerabilities an image may have, as occurrences of a project say."""

    parent: Annotated[
        str,
        Field(max_length=300, pattern=r"^projects/[A-Za-z0-9._~-]+(/locations/[A-Za-z0-9._~-]+)?$"),
    ]
    """Project with the occurrences of a scanner, of kinds VULNERABILITY and DISCOVERY. They are not signed, so that all
    who may create occurrences there are trusted."""
    server: Name = "default"
    """GrafeasServer that has them."""
    maximum_severity: Severity = "MEDIUM"
    """Highest severity that is accepted; ALLOW_ALL accepts every one, BLOCK_ALL none."""
    maximum_fix_unavailable_severity: Severity | None = None
    """The same for vulnerabilities without a fix; by default that of maximumSeverity."""
    allow_cves: Annotated[list[AllowedCVE], Field(max_length=1000, alias="allowCVEs")] = []
    """Vulnerabilities that are accepted whatever their severity."""
    require_scan: bool = True
    """Whether a finished scan (a DISCOVERY occurrence) is required."""
    max_scan_age: Duration | None = None
    """How old the last finished scan may be; any age by default."""


class ProvenanceRule(Model):
    """Who must have built an image, by signed provenance."""

    builder_ids: Annotated[list[Name], Field(min_length=1, max_length=100, alias="builderIDs")]
    """Builders, as SLSA provenance names them. Only DSSE attestations whose provenance names one of them count for the
    authorities of the policy."""


_POLICY_RULES = (  # of the whole object: a spec that is left out has a default, which no rule of its own may reject
    Rule(
        "has(self.spec.require) || has(self.spec.vulnerability)",
        "set spec.require or spec.vulnerability",
    ),
    Rule(
        "!has(self.spec.provenance) || has(self.spec.require)",
        "spec.provenance needs spec.require: it applies to the attestations in it",
    ),
)


class ImagePolicySpec(Model):
    """What images need in order to run."""

    match: ImageMatch = ImageMatch()
    """Images that the policy applies to."""
    exempt: Annotated[list[Pattern], Field(max_length=1000)] = []
    """Patterns of images that need nothing."""
    require: Require | None = None
    """Attestations that an image needs."""
    vulnerability: VulnerabilityRule | None = None
    """Vulnerabilities that an image may have."""
    provenance: ProvenanceRule | None = None
    """Builders of the image."""
    tags: Literal["Deny", "Resolve"] = "Deny"
    """What happens to an image with a tag alone: Deny, or Resolve, which replaces the tag by the digest that the
    registry has for it now, and then requires attestations of that. Resolve takes all policies for the image."""
    mode: Literal["Enforce", "Warn", "Audit"] = "Enforce"
    """Enforce denies, Warn admits with a warning to the user, Audit admits and says so in the operator's log."""
    on_backend_error: Literal["Deny", "Allow"] = "Deny"
    """What happens when the metadata server does not answer."""


class ImagePolicyStatus(Model):
    """Whether the policy can be applied."""

    conditions: list[Condition] = []
    """Ready: its patterns are understood, and its authorities exist."""


_POLICY_COLUMNS = (
    _READY,
    PrinterColumn("Mode", ".spec.mode"),
    PrinterColumn("Images", ".spec.match.images"),
    _REASON,
    _AGE,
)


class ImagePolicy(
    Resource[ImagePolicySpec, ImagePolicyStatus],
    group=GROUP,
    version=VERSION,
    plural="imagepolicies",
    categories=[_CATEGORY],
    printer_columns=_POLICY_COLUMNS,
    rules=_POLICY_RULES,
):
    """What images need in one namespace, beside what ClusterImagePolicies ask for."""


class ClusterImagePolicy(
    Resource[ImagePolicySpec, ImagePolicyStatus],
    group=GROUP,
    version=VERSION,
    plural="clusterimagepolicies",
    scope="Cluster",
    categories=[_CATEGORY],
    printer_columns=_POLICY_COLUMNS,
    rules=_POLICY_RULES,
):
    """What images need in all namespaces, or those of a selector."""


class ImagePolicyExceptionSpec(Model):
    """Which images run although policies deny them, why, and until when."""

    digests: Annotated[list[Digest], Field(min_length=1, max_length=100)]
    """Digests of the images."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Why they have to run; it is in each Event."""
    expires: Time
    """Time from which the exception admits nothing any more."""
    max_uses: Annotated[int, Field(ge=1, le=1000)] = 1000
    """How many Pods it admits; workloads that make Pods are not counted."""


class Use(Model):
    """A Pod that an exception has admitted."""

    time: Time
    """When it was admitted."""
    user: str
    """Who created or changed it."""
    pod: str
    """Name of the Pod."""
    images: list[str]
    """Images that policies deny."""


class ImagePolicyExceptionStatus(Model):
    """What the exception has admitted."""

    uses: Annotated[list[Use], Field(max_length=1000)] = []
    """Pods in the order of their admission; each is written before the Pod is admitted."""


class ImagePolicyException(
    Resource[ImagePolicyExceptionSpec, ImagePolicyExceptionStatus],
    group=GROUP,
    version=VERSION,
    plural="imagepolicyexceptions",
    categories=[_CATEGORY],
    printer_columns=[
        PrinterColumn("Expires", ".spec.expires", type="date"),
        PrinterColumn("Reason", ".spec.reason"),
        _AGE,
    ],
):
    """Breakglass: images that run although policies deny them; to make one takes the verb breakglass on this kind."""


class ImageRevocationSpec(Model):
    """What does not count any more: an image, or a key."""

    class_rules = (exactly_one_of("digest", "keyFingerprint"),)

    digest: Digest | None = None
    """Digest of an image that is not admitted in any namespace, whatever policies and exceptions say."""
    key_fingerprint: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{40,128}$")] | None = None
    """Fingerprint of a key, as in the status of its authority: no signature by it counts, in any authority."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Why; it is in each denial."""


class ImageRevocation(
    Resource[ImageRevocationSpec, NoStatus],
    group=GROUP,
    version=VERSION,
    plural="imagerevocations",
    scope="Cluster",
    categories=[_CATEGORY],
    printer_columns=[
        PrinterColumn("Digest", ".spec.digest"),
        PrinterColumn("Key", ".spec.keyFingerprint"),
        PrinterColumn("Reason", ".spec.reason"),
        _AGE,
    ],
):
    """An image, or a key, that does not count any more."""
