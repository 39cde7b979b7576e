"""Which controllers run: the list of kube-controller-manager's `--controllers`, understood the same way everywhere."""

from __future__ import annotations

import difflib

from operatorkit.errors import InputError

__all__ = ["check_selection", "enabled"]

_NAMES = """
    bootstrap-signer certificatesigningrequest-approving certificatesigningrequest-cleaner
    certificatesigningrequest-signing cloud-node-lifecycle clusterrole-aggregation cronjob daemonset deployment
    device-taint-eviction disruption endpoints endpointslice endpointslice-mirroring ephemeral-volume
    garbage-collector horizontal-pod-autoscaler job kube-apiserver-serving-clustertrustbundle-publisher
    legacy-serviceaccount-token-cleaner namespace node-ipam node-lifecycle node-route
    persistentvolume-attach-detach persistentvolume-binder persistentvolume-expander persistentvolume-protection
    persistentvolumeclaim-protection pod-garbage-collector podcertificaterequest-cleaner podgroup-protection
    replicaset replicationcontroller resourceclaim resourcepoolstatusrequest resourcequota
    root-ca-certificate-publisher selinux-warning service-cidr service-lb serviceaccount serviceaccount-token
    statefulset storage-version-migrator storageversion-garbage-collector taint-eviction token-cleaner
    ttl-after-finished ttl validatingadmissionpolicy-status volumeattributesclass-protection
"""
_KNOWN = frozenset(f"{name}-controller" for name in _NAMES.split())
"""The controllers of kube-controller-manager 1.36. Source: its cmd/kube-controller-manager/names."""


def enabled(controller: str, selection: str) -> bool:
    """Return whether `selection` turns `controller` on.

    `*` is all of them, `name` is one, `-name` is all but one; an entry by name beats `*`.
    """
    entries = _entries(selection)
    return f"-{controller}" not in entries and (controller in entries or "*" in entries)


def check_selection(selection: str) -> None:
    """Raise InputError for a selection that names a controller which Kubernetes does not have."""
    for entry in _entries(selection):
        name = entry.removeprefix("-")
        if entry in {"", "*"} or name in _KNOWN:
            continue
        near = difflib.get_close_matches(name, _KNOWN, n=1)
        near = [f"{name}-controller"] if f"{name}-controller" in _KNOWN else near
        hint = (
            f"did you mean {near[0]}?"
            if near
            else "use a name of kube-controller-manager, or '*' for all"
        )
        raise InputError(f"controllers {selection!r}: there is no controller {name!r}: {hint}")


def _entries(selection: str) -> list[str]:
    return [entry.strip() for entry in selection.split(",")]
