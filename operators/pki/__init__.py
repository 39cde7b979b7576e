"""pki: certificates from a custom resource, and errors as Events where their owner looks.

What belongs here: issuing X.509 certificates for Kubernetes objects. What does not: how operators
run.

    api        the kinds: Certificate, Issuer, ClusterIssuer, CertificatePolicy, Pki
    request    what a Certificate asks for, checked              reasons   the words of conditions and Events
    policy     what a namespace may ask for                      signer    who signs
    plan       what to do next                                   keys      private keys
    objects    what is written                                   issue     X.509: built, and verified
    observe    what is there, and which change triggers what     pods      who uses a Secret
    missing    which Secrets Pods wait for in vain                suggest   what was perhaps meant
    admission  what is rejected before it is stored
    reconcile  observe, plan, apply, report                      report    who is notified
"""

from __future__ import annotations

import operators.pki.admission
import operators.pki.reconcile  # noqa: F401 - declares the reconcile functions
from operators.pki.api import Certificate, CertificatePolicy, ClusterIssuer, Issuer, Pki
from operators.pki.app import app

__all__ = ["Certificate", "CertificatePolicy", "ClusterIssuer", "Issuer", "Pki", "app"]
