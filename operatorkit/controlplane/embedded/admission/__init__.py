"""Admission webhooks: whom a write is shown to before it is stored, and what they make of it.

    write ─► mutating, one after the other ─► (again, those that ask for it) ─► validation ─► validating, all at once

What belongs here: choosing the webhooks of a request (`hooks`), the AdmissionReview (`review`), asking over HTTPS
(`calling`) and the order of it all (`chain`). What does not: what the write path does before and between (`writing`),
and the side that answers reviews (`operatorkit.webhooks`). Not evaluated: matchConditions, and admission policies.

Source: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from operatorkit.controlplane.embedded.admission.chain import Webhooks
from operatorkit.controlplane.embedded.admission.hooks import Attributes

__all__ = ["Attributes", "Webhooks"]
