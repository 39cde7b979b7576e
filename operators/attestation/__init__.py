"""attestation: only images with the attestations that policy asks for run.

What belongs here: facts about images (the metadata server), signatures over them, and the admission of Pods by both.
What does not: how operators run (`operatorkit`), and making signatures (gpg and others do).

    images      image references and patterns         api        the kinds: authorities, policies, servers
    server      the metadata server: the Grafeas API  signatures from bytes to a verified statement
    workloads   which images an object has            policy     which attestations they need: the decision
    facts       attestations, looked up and verified  memory     those of a second ago
    flights     look-ups under way, sent once
    vulnerabilities  which of them a policy accepts
    exceptions  what they excuse                  breakglass  who may make one, and the record of its use
    owners      whom Events are about             external    kinds of others that admission covers
    kinds       which kinds admission covers      observe     from objects to the decision's values
    changes     what has changed in a server      continuous  running Pods, evaluated again
    reports     PolicyReports of running Pods
    mutation    which tags become digests         registry    the digest that a tag has now
    cosign      signatures in a registry          bundles     Sigstore bundles, read and verified
    admission   which requests are evaluated  reconcile  what authorities and policies are worth
    cli, cli_keys, cli_upload, cli_policies  operatorkit attest   reasons    the words of conditions
    signing     keys and signatures, for its commands payload    what they sign
    backstop    a policy of the API server for digests
    offline     manifests, without a cluster          importing  from Kritis and Binary Authorization

    Pod ──> mutation ──> workloads ──> policy.plan ──> facts (server, signatures) ──> policy.decide ──> Allowed, Denied
"""

from __future__ import annotations

import operators.attestation._extra
import operators.attestation.admission
import operators.attestation.changes
import operators.attestation.continuous
import operators.attestation.mutation
import operators.attestation.reconcile  # noqa: F401 - declares the reconcile functions
from operators.attestation.api import (
    AttestationAuthority,
    ClusterAttestationAuthority,
    ClusterImagePolicy,
    GrafeasServer,
    ImagePolicy,
    ImagePolicyException,
    ImageRevocation,
)
from operators.attestation.app import app

__all__ = [
    "AttestationAuthority",
    "ClusterAttestationAuthority",
    "ClusterImagePolicy",
    "GrafeasServer",
    "ImagePolicy",
    "ImagePolicyException",
    "ImageRevocation",
    "app",
]
