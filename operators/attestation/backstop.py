"""The backstop: a ValidatingAdmissionPolicy that denies images without a digest, whoever answers webhooks.

What belongs here: the two objects. What does not: attestations, which CEL cannot verify. Pure.

It runs in the API server itself: it holds where the webhook configuration was removed, or not yet made. As at
admission, an update that adds no such image passes, so that what runs can be changed and stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

__all__ = ["backstop"]

NAME: Final = "image-digests.attest.operatorkit.dev"
_VERSION: Final = "admissionregistration.k8s.io/v1"
_DIGEST: Final = "@(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})$"
_SYSTEM: Final = ("kube-node-lease", "kube-system")
_RULES: Final = {
    "": ["pods", "pods/ephemeralcontainers", "podtemplates", "replicationcontrollers"],
    "apps": ["daemonsets", "deployments", "replicasets", "statefulsets"],
    "batch": ["cronjobs", "jobs"],
    "apps.operatorkit.dev": ["petsets"],
}


def backstop(namespaces: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the policy and its binding, for all namespaces but those of the system and the given ones."""
    left_out = sorted({*_SYSTEM, *namespaces})
    selector = {
        "matchExpressions": [
            {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": left_out}
        ]
    }
    policy = {
        "apiVersion": _VERSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": selector,
                "resourceRules": [
                    {
                        "apiGroups": [group],
                        "apiVersions": ["*"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": resources,
                    }
                    for group, resources in _RULES.items()
                ],
            },
            "variables": [
                {"name": "spec", "expression": _spec("object")},
                {"name": "images", "expression": _images("variables.spec")},
                {
                    "name": "before",
                    "expression": f"request.operation != 'UPDATE' ? [] : [{_spec('oldObject')}]",
                },
                {"name": "known", "expression": f"variables.before.map(spec, {_images('spec')})"},
            ],
            "validations": [
                {
                    "expression": f"variables.images.all(image, image.matches('{_DIGEST}') || "
                    "variables.known.exists(known, image in known))",
                    "messageExpression": "'images need a digest, because a tag can move: ' + "
                    f"variables.images.filter(image, !image.matches('{_DIGEST}')).join(', ')",
                    "reason": "Forbidden",
                }
            ],
        },
    }
    binding = {
        "apiVersion": _VERSION,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": NAME},
        "spec": {"policyName": NAME, "validationActions": ["Deny"]},
    }
    return [policy, binding]


def _spec(obj: str) -> str:
    """Return the Pod's spec in an object of any of the kinds."""
    kind = "request.kind.kind"
    return (
        f"{kind} == 'Pod' ? dyn({obj}.spec) : {kind} == 'PodTemplate' ? dyn({obj}.template.spec) : "
        f"{kind} == 'CronJob' ? dyn({obj}.spec.jobTemplate.spec.template.spec) : dyn({obj}.spec.template.spec)"
    )


def _images(spec: str) -> str:
    """Return the images of a Pod's spec, that of a container without one as empty text."""
    parts = [
        f"(has({spec}.{name}) ? {spec}.{name}.map(one, has(one.image) ? string(one.image) : '') : [])"
        for name in ("containers", "initContainers", "ephemeralContainers")
    ]
    volumes = f"{spec}.volumes.filter(one, has(one.image)).map(one, string(one.image.reference))"
    return " + ".join([*parts, f"(has({spec}.volumes) ? {volumes} : [])"])
