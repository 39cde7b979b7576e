"""A chart as a value, and the two that are made of an operator.

What belongs here: which files a chart has, and how a directory differs from it. What does not: the rules of its roles
(`rbac`), what may be set (`values`), and the texts themselves (`templates/`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import jinja2

from operatorkit.chart.dashboard import dashboard
from operatorkit.chart.rbac import Rule, rules
from operatorkit.chart.values import crd_values, operator_values, schema_text, values_text
from operatorkit.crd.render import render
from operatorkit.definitions import definitions, own_kinds
from operatorkit.errors import InputError
from operatorkit.operator import Operator
from operatorkit.permissions import HandlerNeed, permissions
from operatorkit.resource import Resource, api_resource_of
from operatorkit.webhooks import ServiceReference, configurations
from operatorkit.webhooks.manifests import leaves_out_own_namespace

__all__ = ["HEALTH_PORT", "Chart", "crd_chart", "operator_chart"]

HEALTH_PORT = 8081

_GRACE_TO_SPARE_SECONDS = 10
_WRITING = {"create", "update", "patch"}


@dataclass(frozen=True, slots=True)
class Chart:
    """A Helm chart: the text of each file, by its path within the chart."""

    name: str
    files: Mapping[str, str]

    def write(self, parent: Path) -> Path:
        """Write the chart below `parent`, in a directory of its name; return that. Other files there are left.

        Raises InputError when it cannot be written.
        """
        root = parent / self.name
        try:
            for name, text in self.files.items():
                path = root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"{root} cannot be written: {error.strerror}: give -o a directory"
            ) from error
        return root

    def differences(self, parent: Path) -> list[str]:
        """Say, a line for each file, how the directory of this chart below `parent` differs from it."""
        root = parent / self.name
        there = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        return [
            *(f"{root / name} is missing" for name in sorted(set(self.files) - there)),
            *(
                f"{root / name} is not generated from the code: remove it"
                for name in sorted(there - set(self.files))
            ),
            *(
                f"{root / name} differs from the code"
                for name in sorted(there & set(self.files))
                if (root / name).read_bytes() != self.files[name].encode()
            ),
        ]


def crd_chart(app: Operator, *, version: str) -> Chart:
    """Return the chart of the definitions of an operator's own kinds. Raises InputError when it has none."""
    own = own_kinds(app)
    if not own:
        raise InputError(f"{app.name} has no kinds of its own, so it needs no chart of definitions")
    name = f"{app.name}-crds"
    facts = {"name": name, "app": app.name, "version": version, "kinds": _kinds(own)}
    files = {
        "Chart.yaml": _filled("crds-Chart.yaml", facts),
        "values.yaml": values_text(crd_values()),
        "values.schema.json": schema_text(crd_values()),
        "templates/NOTES.txt": _filled("crds-NOTES.txt", facts),
    }
    for definition in definitions(own):
        path = (
            f"templates/{definition['spec']['group']}_{definition['spec']['names']['plural']}.yaml"
        )
        files[path] = _filled("crds-definition.yaml", {**facts, **_parts(definition)})
    return Chart(name, files)


def operator_chart(
    app: Operator,
    target: str,
    *,
    version: str,
    image: str | None = None,
    handlers: Iterable[HandlerNeed] = (),
) -> Chart:
    """Return the chart that runs an operator; `target` is what `operatorkit run` is given in its container.

    `handlers` is what kopf needs to call the handlers in the operator's modules.
    """
    lease = "{{ include `NAME.fullname` . }}".replace("NAME", app.name)
    found = rules(permissions(app, service=_service(app), handlers=handlers, lease=lease))
    own = own_kinds(app)
    reviews = max((one.timeout for one in app.webhooks), default=timedelta(0))
    grace = (
        math.ceil((app.settings.shutdown_timeout + reviews).total_seconds())
        + _GRACE_TO_SPARE_SECONDS
    )
    writes_secrets = any(_writes_secrets(rule) for rule in found)
    values = operator_values(
        image or app.name,
        grace_seconds=grace,
        webhooks=bool(app.webhooks),
        writes_secrets=writes_secrets,
    )
    facts = {
        "name": app.name,
        "target": target,
        "version": version,
        "kinds": _kinds(own),
        "crds": f"{app.name}-crds" if own else None,
        "own_rules": [rule for rule in found if rule.own],
        "namespaced_rules": [rule for rule in found if rule.namespaced and not rule.own],
        "cluster_rules": [rule for rule in found if not rule.namespaced],
        "event_rules": [rule for rule in found if (rule.group, rule.resource) == ("", "events")],
        "tells_of_cluster_scoped": any(
            not api_resource_of(one.kind).namespaced for one in app.reconcilers
        ),
        "health_port": HEALTH_PORT,
        "webhooks": _registrations(app),
        "writes_secrets": writes_secrets,
        "finalized": [_plural(one.kind) for one in app.reconcilers if one.has_finalizer],
        "left_out": sorted(
            {one.resource.kind for one in app.webhooks if leaves_out_own_namespace(one)}
        ),
        "guarded": sorted(
            {one.resource.kind for one in app.webhooks if one.failure_policy == "Fail"}
        ),
    }
    names = [
        *(
            "_helpers.tpl",
            "deployment.yaml",
            "serviceaccount.yaml",
            "rbac.yaml",
            "networkpolicy.yaml",
        ),
        *("poddisruptionbudget.yaml", "metrics.yaml", "monitoring.yaml", "NOTES.txt"),
    ]
    if app.webhooks:
        names += ["service.yaml", "webhooks.yaml"]
    if writes_secrets:
        names.append("secretpolicy.yaml")
    return Chart(
        app.name,
        {
            "Chart.yaml": _filled("Chart.yaml", facts),
            "values.yaml": values_text(values),
            "values.schema.json": schema_text(values),
            f"dashboards/{app.name}.json": dashboard(app.name, webhooks=bool(app.webhooks)),
            **{f"templates/{name}": _filled(name, facts) for name in names},
        },
    )


def _writes_secrets(rule: Rule) -> bool:
    """Return whether a rule is for the Secrets of others; those that hold the keys of webhooks are its own."""
    return (
        (rule.group, rule.resource) == ("", "secrets")
        and not rule.own
        and bool(_WRITING & set(rule.verbs))
    )


def _service(app: Operator) -> ServiceReference:
    """Return the Service of a release: Helm fills in its name, and the names that are derived from it."""
    return ServiceReference(
        namespace="{{ .Release.Namespace }}",
        name="{{ include `NAME.webhookService` . }}".replace(
            "NAME", app.name
        ),  # backquotes need no escape in YAML
    )


def _registrations(app: Operator) -> list[dict[str, Any]]:
    """Return the parts of each webhook configuration, without CA bundles: the operator has the keys, and adds them."""
    service = _service(app)
    everywhere = configurations(app.name, app.webhooks, at=service)
    limited = configurations(
        app.name, app.webhooks, at=service, namespace="{{ .Values.watchNamespace }}"
    )
    return [
        {
            "apiVersion": made["apiVersion"],
            "kind": made["kind"],
            "name": made["metadata"]["name"],
            "webhooks": [
                _webhook(*pair) for pair in zip(made["webhooks"], in_one["webhooks"], strict=True)
            ],
        }
        for made, in_one in zip(everywhere, limited, strict=True)
    ]


def _webhook(everywhere: dict[str, Any], limited: dict[str, Any]) -> dict[str, str]:
    """Return one webhook in parts: where it is asked about depends on a value, and the rest does not."""
    where = "namespaceSelector"
    return {
        "entry": _text({key: value for key, value in everywhere.items() if key != where}),
        "everywhere": _text({where: everywhere[where]}),
        "limited": _text({where: limited[where]}),
    }


def _plural(kind: type[Any]) -> str:
    """Return the name by which kubectl finds a kind whatever else a cluster serves."""
    resource = api_resource_of(kind)
    return f"{resource.plural}.{resource.group}" if resource.group else resource.plural


def _kinds(own: Iterable[type[Resource[Any, Any]]]) -> list[str]:
    return sorted({kind.api_resource().kind for kind in own})


def _parts(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a definition as the template puts them together; braces that Helm would read are quoted."""
    metadata = definition["metadata"]
    others = {
        name: value for name, value in metadata.items() if name not in {"annotations", "labels"}
    }
    rest = {name: value for name, value in definition.items() if name != "metadata"}
    return {
        "head": _body({name: rest.pop(name) for name in ("apiVersion", "kind")}),
        "metadata": _body(others),
        "annotations": _body(metadata.get("annotations") or {}),
        "labels": _body(metadata.get("labels") or {}),
        "body": _body(rest),
    }


def _body(part: Mapping[str, Any]) -> str:
    """Return YAML with `{{` as Helm writes a literal one."""
    return _text(part).replace("{{", '{{ "{{" }}') if part else ""


def _text(part: Mapping[str, Any]) -> str:
    """Return YAML without the document mark."""
    return render([part]).removeprefix("---\n").strip()


def _comment(text: str) -> str:
    """Return what an author has written as one line in which Helm reads nothing."""
    return " ".join(text.split()).replace("{{", '{{ "{{" }}')


def _filled(template: str, facts: Mapping[str, Any]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("operatorkit.chart"),
        block_start_string="[%",
        block_end_string="%]",
        variable_start_string="[[",
        variable_end_string="]]",
        comment_start_string="[#",
        comment_end_string="#]",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - YAML is made, not HTML
    )
    environment.filters["quoted"] = json.dumps
    environment.filters["comment"] = _comment
    return environment.get_template(f"{template}.j2").render(facts)
