"""A Kubernetes API server in Python: for development and tests, not for production.

What belongs here: the server. What does not: a real kube-apiserver (`operatorkit.controlplane.real`),
controllers and simulated nodes, which work against either through the API alone
(`operatorkit.controlplane.controllers`, `operatorkit.controlplane.nodes`).

    server, local          HTTP, and the same API in this process
      endpoints            verbs, subresources, field managers, representations
      admission            webhooks
      auth                 users and permissions
      discovery, printers  documents, and the columns of Tables
      registry             the table of resources; validation and preparation of each kind
      fields               patches, apply and managed fields
      storage, request     records, revisions and the log; what a client sends
      serializer           bytes from and to objects
      scheme               the built-in kinds, their types and defaults
      errors               API errors

Each layer imports those below it; a contract in pyproject.toml holds that.
"""

from __future__ import annotations

from operatorkit.controlplane.embedded.control_plane import EmbeddedControlPlane
from operatorkit.controlplane.embedded.server import EmbeddedServer

__all__ = ["EmbeddedControlPlane", "EmbeddedServer"]
