"""The operator, as an object that the other modules declare on.

What belongs here: its name, and what it reads without reconciling it. What does not: functions.
"""

from __future__ import annotations

from kubernetes.client.models import V1Namespace

from operatorkit.operator import Operator
from operators.attestation.api import GrafeasServer, ImagePolicyException, ImageRevocation

__all__ = ["app"]

app = Operator("attestation")
app.reads(GrafeasServer, ImagePolicyException, ImageRevocation, V1Namespace)
