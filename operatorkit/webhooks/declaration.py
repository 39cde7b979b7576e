"""What a webhook is declared as.

What belongs here: one declared webhook, checked when it is made, and the names and paths that
follow from it. What does not: manifests (`operatorkit.webhooks.manifests`) and calling it
(`operatorkit.webhooks.dispatch`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypedDict, get_args

from operatorkit.errors import DefinitionError
from operatorkit.names import ApiResource
from operatorkit.resource import api_resource_of

__all__ = ["FailurePolicy", "Operation", "SideEffects", "Webhook", "WebhookOptions"]

Operation = Literal["CREATE", "UPDATE", "DELETE", "CONNECT"]
FailurePolicy = Literal["Fail", "Ignore"]
SideEffects = Literal["None", "NoneOnDryRun"]

_LONGEST = timedelta(seconds=30)


class WebhookOptions(TypedDict, total=False):
    """What may be said of a webhook where it is declared; `Webhook` has the meanings and the defaults."""

    operations: Sequence[Operation]
    subresources: Sequence[str]
    failure_policy: FailurePolicy
    side_effects: SideEffects
    timeout: timedelta
    namespace_selector: Mapping[str, Any] | None
    object_selector: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One webhook: a function that validates or mutates requests for objects of one kind.

    `timeout` is whole seconds, 1 to 30: within it the API server gets an answer. `failure_policy`
    says what it does when there is none. `namespace_selector` and `object_selector` are label
    selectors as Kubernetes writes them; None selects all. A function with side effects other than
    on its own answer must leave them out when `request.dry_run`, and say
    `side_effects="NoneOnDryRun"`. `subresources` are covered beside the objects themselves: those
    whose requests carry the whole object, such as `ephemeralcontainers` of Pods.

    Raises DefinitionError: an option cannot be what it is.
    """

    verb: Literal["validate", "mutate"]
    kind: type[Any]
    function: Callable[..., Awaitable[Any]]
    operations: Sequence[Operation] = ("CREATE", "UPDATE")
    subresources: Sequence[str] = ()
    failure_policy: FailurePolicy = "Fail"
    side_effects: SideEffects = "None"
    timeout: timedelta = timedelta(seconds=10)
    namespace_selector: Mapping[str, Any] | None = None
    object_selector: Mapping[str, Any] | None = None
    reinvocation: bool = False

    def __post_init__(self) -> None:
        for name in ("operations", "subresources"):  # the caller may change the list that was given
            object.__setattr__(self, name, tuple(getattr(self, name)))
        known = get_args(Operation)
        wrong = [operation for operation in self.operations if operation not in known]
        if wrong or not self.operations:
            found = ", ".join(map(repr, wrong)) or "none"
            self._reject(f"operations= has {found}: give one or more of {', '.join(known)}")
        if self.verb == "mutate" and {"DELETE", "CONNECT"} & set(self.operations):
            self._reject(
                "operations= of a mutating webhook are CREATE and UPDATE: others have no object to change"
            )
        if "CONNECT" in self.operations:
            self._reject(
                "operations= has 'CONNECT', which is for subresources such as pods/exec, not for a kind"
            )
        if self.failure_policy not in get_args(FailurePolicy):
            self._reject(f"failure_policy={self.failure_policy!r}: give 'Fail' or 'Ignore'")
        if self.side_effects not in get_args(SideEffects):
            self._reject(f"side_effects={self.side_effects!r}: give 'None' or 'NoneOnDryRun'")
        if not timedelta(seconds=1) <= self.timeout <= _LONGEST or self.timeout % timedelta(
            seconds=1
        ):
            self._reject(f"timeout={self.timeout!r}: give whole seconds, 1 to {_LONGEST.seconds}")
        if self.reinvocation and self.verb == "validate":
            self._reject("reinvocation= is for mutating webhooks")

    @property
    def resource(self) -> ApiResource:
        """How API servers serve the kind."""
        return api_resource_of(self.kind)

    @property
    def name(self) -> str:
        """What the API server calls it in messages: `validate.certificates.pki.operatorkit.dev`."""
        return f"{self.verb}.{self.resource.plural}.{self.resource.group or 'core'}"

    @property
    def path(self) -> str:
        """Where the server answers for it: `/validate/pki.operatorkit.dev/v1alpha1/certificates`."""
        resource = self.resource
        return f"/{self.verb}/{resource.group or 'core'}/{resource.version}/{resource.plural}"

    def _reject(self, problem: str) -> None:
        raise DefinitionError(f"{self.verb}({self.kind.__name__}): {problem}")
