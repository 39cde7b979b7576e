"""What the configurations of admission webhooks must be like.

What belongs here: the rules of MutatingWebhookConfigurations and ValidatingWebhookConfigurations. What does not:
matchConditions, and asking the webhooks (`embedded.admission`).

Source: k8s.io/kubernetes/pkg/apis/admissionregistration/validation
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from operatorkit.controlplane.embedded.registry.validation.checks import (
    label_selector,
    subdomain,
    subdomain_texts,
)
from operatorkit.crd.field_errors import FieldErrors, duplicate, invalid, not_supported, required
from operatorkit.names import DNS_1035_LABEL_PATTERN

__all__ = ["RULES"]

JSONObject = Mapping[str, Any]

_GROUP = "admissionregistration.k8s.io"
_REVIEW_VERSIONS = ("v1", "v1beta1")
_SIDE_EFFECTS = ("None", "NoneOnDryRun")
_OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
_URL_FORM = "; desired format: https://host[/path]"
_LABEL_1035 = re.compile(DNS_1035_LABEL_PATTERN)
_LABEL_1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    "'[a-z]([-a-z0-9]*[a-z0-9])?')"
)


def _configuration(obj: JSONObject) -> FieldErrors:
    seen = set()
    for position, webhook in enumerate(obj.get("webhooks") or ()):
        path = f"webhooks[{position}]"
        yield from _webhook(path, webhook)
        yield from _review_versions(
            f"{path}.admissionReviewVersions", webhook.get("admissionReviewVersions") or ()
        )
        name = webhook.get("name", "")
        if name and name in seen:
            yield duplicate(f"{path}.name", name)
        seen.add(name)


def _webhook(path: str, webhook: JSONObject) -> FieldErrors:
    yield from _name(f"{path}.name", webhook.get("name", ""))
    for position, rule in enumerate(webhook.get("rules") or ()):
        yield from _rule(f"{path}.rules[{position}]", rule)
    yield from _choice(path, webhook, "failurePolicy", ("Fail", "Ignore"))
    yield from _choice(path, webhook, "matchPolicy", ("Equivalent", "Exact"))
    if webhook.get("sideEffects") is None:
        yield required(f"{path}.sideEffects", f"must specify one of {', '.join(_SIDE_EFFECTS)}")
    yield from _choice(path, webhook, "sideEffects", _SIDE_EFFECTS)
    timeout = webhook.get("timeoutSeconds")
    if timeout is not None and not 1 <= timeout <= 30:
        yield invalid(
            f"{path}.timeoutSeconds", timeout, "the timeout value must be between 1 and 30 seconds"
        )
    yield from label_selector(f"{path}.namespaceSelector", webhook.get("namespaceSelector"))
    yield from label_selector(f"{path}.objectSelector", webhook.get("objectSelector"))
    yield from _choice(path, webhook, "reinvocationPolicy", ("IfNeeded", "Never"))
    yield from _client(f"{path}.clientConfig", webhook.get("clientConfig") or {})


def _choice(path: str, webhook: JSONObject, field: str, supported: Sequence[str]) -> FieldErrors:
    value = webhook.get(field)
    if value is not None and value not in supported:
        yield not_supported(f"{path}.{field}", value, supported)


def _name(path: str, name: str) -> FieldErrors:
    if not name:
        yield required(path)
        return
    errors = list(subdomain(path, name))
    yield from errors
    if not errors and name.count(".") < 2:
        yield invalid(
            path, name, "should be a domain with at least three segments separated by dots"
        )


def _review_versions(path: str, versions: Sequence[str]) -> FieldErrors:
    if not versions:
        yield required(path, f"must specify one of {', '.join(_REVIEW_VERSIONS)}")
        return
    seen = set()
    for position, version in enumerate(versions):
        here = f"{path}[{position}]"
        if version in seen:
            yield invalid(here, version, "duplicate version")
            continue
        seen.add(version)
        if len(version) > 63:
            yield invalid(here, version, "must be no more than 63 characters")
        if not _LABEL_1035.fullmatch(version):
            yield invalid(here, version, _LABEL_1035_TEXT)
    if not seen & set(_REVIEW_VERSIONS):
        yield invalid(path, versions, f"must include at least one of {', '.join(_REVIEW_VERSIONS)}")


def _rule(path: str, rule: JSONObject) -> FieldErrors:
    operations = rule.get("operations") or ()
    if not operations:
        yield required(f"{path}.operations")
    yield from _alone(f"{path}.operations", operations, "operations")
    for position, operation in enumerate(operations):
        if operation not in _OPERATIONS:
            yield not_supported(f"{path}.operations[{position}]", operation, _OPERATIONS)
    groups, versions = rule.get("apiGroups") or (), rule.get("apiVersions") or ()
    if not groups:
        yield required(f"{path}.apiGroups")
    yield from _alone(f"{path}.apiGroups", groups, "API groups")
    if not versions:
        yield required(f"{path}.apiVersions")
    yield from _alone(f"{path}.apiVersions", versions, "API versions")
    for position, version in enumerate(versions):
        if not version:
            yield required(f"{path}.apiVersions[{position}]")
    yield from _resources(f"{path}.resources", rule.get("resources") or ())
    yield from _choice(path, rule, "scope", ("*", "Cluster", "Namespaced"))


def _alone(path: str, values: Sequence[str], what: str) -> FieldErrors:
    if len(values) > 1 and "*" in values:
        yield invalid(path, values, f"if '*' is present, must not specify other {what}")


def _resources(path: str, resources: Sequence[str]) -> FieldErrors:
    if not resources:
        yield required(path)
    whole: set[str] = set()  # resources with /*
    every: set[str] = set()  # parts with */
    for position, pattern in enumerate(resources):
        here = f"{path}[{position}]"
        if not pattern:
            yield required(here)
        resource, slash, part = pattern.partition("/")
        if not slash:
            continue
        if resource in whole:
            yield invalid(
                here, pattern, f"if '{resource}/*' is present, must not specify {pattern}"
            )
        if part in every:
            yield invalid(here, pattern, f"if '*/{part}' is present, must not specify {pattern}")
        if part == "*":
            whole.add(resource)
        if resource == "*":
            every.add(part)
    if len(resources) > 1 and "*/*" in resources:
        yield invalid(path, resources, "if '*/*' is present, must not specify other resources")
    if "*" in resources and any(it != "*" and "/" not in it for it in resources):
        text = "if '*' is present, must not specify other resources without subresources"
        yield invalid(path, resources, text)


def _client(path: str, config: JSONObject) -> FieldErrors:
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        yield required(path, "exactly one of url or service is required")
    elif url is not None:
        yield from _url(f"{path}.url", url)
    elif service is not None:
        yield from _service(f"{path}.service", service)


def _url(path: str, text: str) -> FieldErrors:
    try:
        url = urlsplit(text)
        host, user = url.netloc.rpartition("@")[2], url.netloc.rpartition("@")[0]
    except ValueError as error:
        yield required(path, f"url must be a valid URL: {error}{_URL_FORM}")
        return
    if url.scheme != "https":
        yield invalid(path, url.scheme, f"'https' is the only allowed URL scheme{_URL_FORM}")
    if not host:
        yield invalid(path, "", f"host must be specified{_URL_FORM}")
    if user:
        yield invalid(path, user, "user information is not permitted in the URL")
    if url.fragment:
        yield invalid(path, url.fragment, "fragments are not permitted in the URL")
    if url.query:
        yield invalid(path, url.query, "query parameters are not permitted in the URL")


def _service(path: str, service: JSONObject) -> FieldErrors:
    for field in ("name", "namespace"):
        if not service.get(field):
            yield required(f"{path}.{field}")
    number = service.get("port", 443)
    if not 1 <= number <= 65535:
        yield invalid(
            f"{path}.port", number, "port is not valid: must be between 1 and 65535, inclusive"
        )
    where = service.get("path")
    if not where or where == "/":
        return
    here = f"{path}.path"
    if where == "//":
        yield invalid(here, where, "segment[0] may not be empty")
        return
    if not where.startswith("/"):
        yield invalid(here, where, "must start with a '/'")
    for position, step in enumerate(where[1:].removesuffix("/").split("/")):
        if not step:
            yield invalid(here, where, f"segment[{position}] may not be empty")
        else:
            for text in subdomain_texts(step):
                yield invalid(here, where, f"segment[{position}]: {text}")


RULES: Mapping[tuple[str, str], Callable[[JSONObject], FieldErrors]] = {
    (_GROUP, "MutatingWebhookConfiguration"): _configuration,
    (_GROUP, "ValidatingWebhookConfiguration"): _configuration,
}
