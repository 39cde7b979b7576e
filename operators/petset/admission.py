"""Admission of PetSets: what cannot work is rejected before it is stored, each problem with its field.

What belongs here: checks across fields, and those of changes. What does not: what the schema says (`api`). Pure, but
for the declaration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from operatorkit import AdmissionRequest, Allowed, Cause, Denied
from operatorkit.names import DNS_LABEL_MAX_LENGTH, dns_label_error, dns_subdomain_error
from operatorkit.resource import write
from operatorkit.revisions import hash_of, name_of
from operatorkit.rollout import scaled
from operatorkit.selectors import is_empty, matches
from operatorkit.webhooks import invalid, required
from operators.petset.api import PetSet, PetSetSpec
from operators.petset.app import app
from operators.petset.expression import expression_error
from operators.petset.identity import claim_name
from operators.petset.ordinals import desired_ordinals, parse_range, parse_ranges
from operators.petset.template import amount_of

__all__ = ["check_change", "check_spec", "describe", "validate_petset"]

_LAST_PORT = 65535
_LABEL_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_LABEL_RULE = "letters and digits of ASCII, and between them '-', '_' and '.'"
_RECREATE = "set volumeUpdate to Recreate, which deletes the claims with their data"


@app.validate(PetSet)
async def validate_petset(
    new: PetSet, old: PetSet | None, request: AdmissionRequest
) -> Allowed | Denied:
    """Reject what cannot work, all of it at once."""
    del request
    if new.metadata.deletion_timestamp is not None or (old is not None and old.spec == new.spec):
        return Allowed()
    causes = [*check_spec(new), *(check_change(old.spec, new.spec) if old is not None else ())]
    return Denied(*causes) if causes else Allowed()


def describe(causes: Sequence[Cause]) -> str:
    """Return all problems in one line."""
    return "; ".join(f"{cause.field}: {cause.message}" for cause in causes)


def check_spec(pets: PetSet) -> list[Cause]:
    """Return the problems of a PetSet by itself."""
    return [
        *_name_problems(pets),
        *_selector_problems(pets),
        *_ordinal_problems(pets.spec),
        *_claim_problems(pets),
        *_strategy_problems(pets.spec),
        *_gate_problems(pets.spec),
    ]


def check_change(old: PetSetSpec, new: PetSetSpec) -> list[Cause]:
    """Return the problems of a change of a stored PetSet."""
    fixed = [
        ("spec.selector", old.selector, new.selector),
        ("spec.serviceName", old.service_name, new.service_name),
        ("spec.podManagementPolicy", old.pod_management_policy, new.pod_management_policy),
    ]
    return [
        invalid(
            path, _shown(after), f"is immutable, and was {_shown(before)!r}: create another PetSet"
        )
        for path, before, after in fixed
        if before != after
    ] + ([] if new.volume_update == "Recreate" else list(_claim_template_changes(old, new)))


def _claim_template_changes(old: PetSetSpec, new: PetSetSpec) -> Iterator[Cause]:
    """Check that claim templates of the same name only request more storage: a claim cannot change otherwise."""
    before = {
        (body.get("metadata") or {}).get("name"): body.get("spec") or {}
        for body in map(write, old.volume_claim_templates)
    }
    for index, template in enumerate(new.volume_claim_templates):
        body = write(template)
        known = before.get((body.get("metadata") or {}).get("name"))
        if known is None:
            continue
        path, spec = f"spec.volumeClaimTemplates[{index}].spec", body.get("spec") or {}
        was, now = _without_storage(known), _without_storage(spec)
        for name in sorted({*was, *now}):
            if was.get(name) != now.get(name):
                problem = f"cannot change in existing claims: {_RECREATE}, or create another claim template"
                yield invalid(f"{path}.{name}", _shown(now.get(name) or "none"), problem)
        if _storage(spec) < _storage(known):
            least = _requests(known)["storage"]
            problem = f"is less than before, and volumes cannot shrink: request at least {least}, or {_RECREATE}"
            yield invalid(
                f"{path}.resources.requests.storage", str(_requests(spec).get("storage")), problem
            )


def _requests(spec: dict[str, Any]) -> dict[str, Any]:
    return (spec.get("resources") or {}).get("requests") or {}


def _storage(spec: dict[str, Any]) -> Decimal:
    return amount_of(_requests(spec).get("storage") or 0)


def _without_storage(spec: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in spec.items()
        if name != "resources" and value not in (None, "", [], {})
    }


def _shown(value: Any) -> Any:
    return value if isinstance(value, str | int) else "object"


def _name_problems(pets: PetSet) -> Iterator[Cause]:
    """Check what the name becomes: a label value, a hostname, and a part of the names of claims."""
    name = pets.metadata.name
    if not name:
        return
    if problem := dns_label_error(name):
        yield invalid(
            "metadata.name", name, f"{problem}: the names of members are this name and an ordinal"
        )
        return
    member = f"{name}-{_last_ordinal(pets.spec)}"
    revision = name_of(name, hash_of({}))
    excess = max(len(member), len(revision)) - DNS_LABEL_MAX_LENGTH
    if excess > 0:
        longest = (
            f"the name of member {member} has {len(member)} characters and is a label and a hostname"
            if len(member) >= len(revision)
            else f"the names of its revisions have {len(revision)} characters and are labels"
        )
        text = f"{longest}, which have at most {DNS_LABEL_MAX_LENGTH}: shorten the name by {excess}"
        yield invalid("metadata.name", name, text)
    if pets.spec.service_name and (problem := dns_label_error(pets.spec.service_name)):
        yield invalid("spec.serviceName", pets.spec.service_name, problem)


def _last_ordinal(spec: PetSetSpec) -> int:
    try:
        reserved = parse_ranges(spec.reserve_ordinals)
    except ValueError:
        reserved = []
    return max(
        desired_ordinals(max(1, spec.replicas), start=spec.ordinals.start, reserved=reserved)
    )


def _selector_problems(pets: PetSet) -> Iterator[Cause]:
    selector, template = pets.spec.selector, pets.spec.template
    if is_empty(selector):
        yield invalid(
            "spec.selector",
            "object",
            "is empty and would match no pod: give matchLabels of the template",
        )
        return
    labels = (template.metadata.labels if template.metadata is not None else None) or {}
    yield from _label_problems("spec.selector.matchLabels", selector.match_labels or {})
    yield from _label_problems("spec.template.metadata.labels", labels)
    if not matches(selector, labels):
        yield invalid(
            "spec.template.metadata.labels",
            "object",
            f"does not match spec.selector: the template has {dict(labels)}, the selector wants "
            f"{dict(selector.match_labels or {})}",
        )
    if template.spec is None or not template.spec.containers:
        yield required("spec.template.spec.containers", "a member needs at least one container")
    elif (policy := template.spec.restart_policy) not in {None, "Always"}:
        yield invalid(
            "spec.template.spec.restartPolicy",
            policy,
            "must be Always: members are restarted in place",
        )


def _label_problems(path: str, labels: Mapping[str, str]) -> Iterator[Cause]:
    """Check labels as the API server checks those of pods: it would reject each member."""
    for key, value in labels.items():
        prefix, _, name = key.rpartition("/")
        problem = dns_subdomain_error(prefix) if "/" in key else None
        if problem is None and not _LABEL_NAME.fullmatch(name):
            problem = (
                f"the name of a label has 1 to {DNS_LABEL_MAX_LENGTH} characters: {_LABEL_RULE}"
            )
        if problem is not None:
            yield invalid(path, key, problem)
        if value and not _LABEL_NAME.fullmatch(value):
            problem = f"a label has at most {DNS_LABEL_MAX_LENGTH} characters: {_LABEL_RULE}"
            yield invalid(f"{path}[{key}]", value, problem)


def _ordinal_problems(spec: PetSetSpec) -> Iterator[Cause]:
    for index, value in enumerate(spec.reserve_ordinals):
        if problem := _range_problem(value):
            yield invalid(f"spec.reserveOrdinals[{index}]", value, problem)
    named: list[tuple[str, range]] = []
    for position, override in enumerate(spec.overrides):
        for index, value in enumerate(override.ordinals):
            path = f"spec.overrides[{position}].ordinals[{index}]"
            if problem := _range_problem(value):
                yield invalid(path, value, problem)
                continue
            numbers = parse_range(value)
            other = next((place for place, known in named if _overlap(known, numbers)), None)
            if other is not None and not other.startswith(f"spec.overrides[{position}]"):
                yield invalid(path, value, f"overlaps {other}: name each ordinal in one override")
            named.append((path, numbers))


def _range_problem(value: int | str) -> str | None:
    try:
        parse_range(value)
    except ValueError as error:
        return str(error)
    return None


def _overlap(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop


def _claim_problems(pets: PetSet) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, template in enumerate(pets.spec.volume_claim_templates):
        path = f"spec.volumeClaimTemplates[{index}].metadata.name"
        name = template.metadata.name if template.metadata is not None else None
        if not name:
            yield required(path, "volumes refer to a claim template by its name")
            continue
        if name in seen:
            yield invalid(path, name, "is the name of two templates: rename one")
        seen.add(name)
        whole = claim_name(name, pets.metadata.name or "x", _last_ordinal(pets.spec))
        if problem := dns_label_error(name) or dns_subdomain_error(whole):
            yield invalid(path, name, f"{problem} (the claim of a member is {whole})")


def _strategy_problems(spec: PetSetSpec) -> Iterator[Cause]:
    for path, value in (
        (
            "spec.updateStrategy.rollingUpdate.maxUnavailable",
            spec.update_strategy.rolling_update.max_unavailable,
        ),
        ("spec.disruption.budget", spec.disruption.budget),
    ):
        if value is None:
            continue
        try:
            scaled(value, spec.replicas)
        except ValueError as error:
            yield invalid(path, value, str(error))
    maximum = spec.update_strategy.rolling_update.max_unavailable
    if maximum in {0, "0"} or (isinstance(maximum, int) and maximum < 0):
        yield invalid(
            "spec.updateStrategy.rollingUpdate.maxUnavailable",
            maximum,
            "must be at least 1: otherwise an update makes no progress",
        )


def _gate_problems(spec: PetSetSpec) -> Iterator[Cause]:
    """Check the gates: names, expressions, and ports that a request can be sent to."""
    seen: set[str] = set()
    for index, gate in enumerate(spec.disruption.gates):
        path = f"spec.disruption.gates[{index}]"
        if gate.name in seen:
            yield invalid(f"{path}.name", gate.name, "is the name of two gates: rename one")
        seen.add(gate.name)
        if (gate.cel is None) == (gate.http_get is None):
            yield invalid(path, gate.name, "needs exactly one of cel and httpGet")
        if gate.cel is not None and (problem := expression_error(gate.cel)):
            yield invalid(f"{path}.cel", gate.cel, problem)
        if gate.http_get is not None and (problem := _port_problem(spec, gate.http_get.port)):
            yield invalid(f"{path}.httpGet.port", gate.http_get.port, problem)


def _port_problem(spec: PetSetSpec, port: int | str) -> str | None:
    containers = spec.template.spec.containers if spec.template.spec is not None else []
    names = {each.name for container in containers or () for each in container.ports or ()}
    if str(port).isdecimal():
        return None if 1 <= int(port) <= _LAST_PORT else f"must be from 1 to {_LAST_PORT}"
    return None if port in names else "is no port of a container: write its number, or name it so"
