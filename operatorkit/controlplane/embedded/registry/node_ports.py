"""The ports by which Services of type NodePort and LoadBalancer are reached at every node.

What belongs here: allocating them, and rejecting those that are in use. What does not: cluster IPs (`strategy`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from operatorkit.crd import FieldError
from operatorkit.crd.field_errors import invalid

__all__ = ["allocate_node_ports"]

_RANGE = range(30_000, 32_768)
_FIRST_GIVEN = 30_086  # those before are left to people, who ask for a certain one


def allocate_node_ports(
    service: dict[str, Any], others: Iterable[Mapping[str, Any]]
) -> Sequence[FieldError]:
    """Give each port of a Service that needs one a node port, in place; return what is wrong with those it has.

    `others` are the specs of all other Services.
    """
    spec = service.setdefault("spec", {})
    if not _needs(spec):
        return []
    used = {
        (port["nodePort"], port.get("protocol"))
        for it in others
        for port in it.get("ports") or ()
        if _of(port)
    }
    ports = spec.get("ports") or []
    errors = [
        error for at, port in enumerate(ports) if _of(port) for error in _errors(at, port, used)
    ]
    taken = {number for number, _ in used} | {_of(port) for port in ports}
    shared: dict[int, int] = {}  # one port over two protocols gets one node port
    for port in ports:
        if not _of(port):
            number = shared.get(port.get("port", 0)) or next(
                it for it in _RANGE[_FIRST_GIVEN - _RANGE.start :] if it not in taken
            )
            port["nodePort"] = shared[port.get("port", 0)] = number
            taken.add(number)
    return errors


def _needs(spec: Mapping[str, Any]) -> bool:
    if spec.get("type") == "LoadBalancer":
        return spec.get("allocateLoadBalancerNodePorts") is not False
    return spec.get("type") == "NodePort"


def _of(port: Mapping[str, Any]) -> int:
    return int(port.get("nodePort") or 0)


def _errors(
    position: int, port: Mapping[str, Any], used: set[tuple[int, Any]]
) -> Iterable[FieldError]:
    path, number = f"spec.ports[{position}].nodePort", _of(port)
    if number not in _RANGE:
        text = "provided port is not in the valid range. The range of valid ports is 30000-32767"
        yield invalid(path, number, text)
    elif (number, port.get("protocol")) in used:
        yield invalid(path, number, "provided port is already allocated")
