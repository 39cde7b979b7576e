"""The kind PetSet of apps.operatorkit.dev/v1alpha1.

What belongs here: the resource class, its defaults, and the rules that an API server can check by itself. What does
not: rules across fields (`operators.petset.admission`). Fields that apps/v1 StatefulSet has keep their names and
meaning.

Source: https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/stateful-set-v1/
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from kubernetes.client.models import V1LabelSelector, V1PersistentVolumeClaim, V1PodTemplateSpec
from pydantic import Field

from operatorkit.conditions import Condition
from operatorkit.resource import (
    IntOrString,
    Model,
    PrinterColumn,
    Resource,
    Rule,
    Scale,
    Time,
    exactly_one_of,
)

__all__ = [
    "GROUP",
    "Adoption",
    "ClaimStatus",
    "DisruptionSpec",
    "Gate",
    "HttpGet",
    "HttpHeader",
    "MemberStatus",
    "Ordinals",
    "Override",
    "PetSet",
    "PetSetSpec",
    "PetSetStatus",
    "RetentionPolicy",
    "RollbackStatus",
    "RollingUpdate",
    "UpdateStrategy",
]

GROUP = "apps.operatorkit.dev"

_MAX_INT32 = 2**31 - 1
NonNegative = Annotated[int, Field(ge=0, le=_MAX_INT32)]
Retention = Literal["Retain", "Delete"]


class Ordinals(Model):
    """Where the numbering of members begins."""

    start: NonNegative = 0
    """Ordinal of the first member; move members between two sets by changing it on both."""


class RetentionPolicy(Model):
    """What becomes of the claims of members that are no longer wanted."""

    when_deleted: Retention = "Retain"
    """Retain keeps the claims when the PetSet is deleted; Delete deletes them with it."""
    when_scaled: Retention = "Retain"
    """Retain keeps the claims of members that a smaller replicas removes; Delete deletes them with their pods."""


class RollingUpdate(Model):
    """How a changed template reaches the members."""

    partition: NonNegative = 0
    """Members with a rank below it keep their revision; the rank is the position among the desired ordinals."""
    max_unavailable: IntOrString = 1
    """How many members may be unavailable during an update: a number, or a percentage of replicas, rounded down."""
    paused: bool = False
    """Whether the update is held: nothing is replaced until it is false again."""
    progress_deadline_seconds: Annotated[int, Field(ge=1, le=_MAX_INT32)] = 600
    """Seconds without progress after which the update counts as failed."""
    auto_rollback: bool = False
    """Whether a failed update is replaced by the last revision that completed."""
    in_place: Literal["Never", "IfPossible", "Only"] = "Never"
    """Whether members are updated without being recreated, where only images, cpu, memory, labels or annotations
    differ. Only rejects all other changes."""


class UpdateStrategy(Model):
    """When members get a changed template."""

    type: Literal["RollingUpdate", "OnDelete", "Recreate"] = "RollingUpdate"
    """RollingUpdate replaces members in order; OnDelete waits until they are deleted; Recreate deletes all, waits
    until none is left, and creates them again."""
    rolling_update: RollingUpdate = RollingUpdate()
    """Options of RollingUpdate."""


class Override(Model):
    """A change of the template for some members."""

    ordinals: Annotated[list[IntOrString], Field(min_length=1, max_length=100)]
    """Ordinals, or ranges of them such as "2-5"."""
    template: dict[str, Any]
    """Strategic merge patch of the template, such as {"spec": {"nodeSelector": {"disk": "fast"}}}."""


class HttpHeader(Model):
    """One header of a request."""

    name: Annotated[str, Field(min_length=1, max_length=256, pattern="^[-A-Za-z0-9]+$")]
    """Name of the header."""
    value: Annotated[str, Field(max_length=4096)] = ""
    """Its value; $(POD_NAME) and $(POD_NAMESPACE) are those of the member."""


class HttpGet(Model):
    """A GET request to the address of the member's pod."""

    path: Annotated[str, Field(max_length=2048, pattern="^/")] = "/"
    """Path, with a query where one is needed; $(POD_NAME) and $(POD_NAMESPACE) are those of the member."""
    port: IntOrString
    """Port: a number, or the name of a port of one of the containers."""
    scheme: Literal["HTTP", "HTTPS"] = "HTTP"
    """HTTP, or HTTPS, whose certificate is not verified, as that of a probe is not."""
    http_headers: Annotated[list[HttpHeader], Field(max_length=20)] = []
    """Headers that are sent."""


class Gate(Model):
    """A check that has to allow each eviction of an available member, and each restart of its containers."""

    list_map_keys: ClassVar[tuple[str, ...]] = ("name",)
    class_rules: ClassVar[tuple[Rule, ...]] = (exactly_one_of("cel", "httpGet"),)

    name: Annotated[str, Field(max_length=63, pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
    """Name of the gate, which conditions and Events report."""
    cel: Annotated[str, Field(max_length=4096)] | None = None
    """CEL expression that is true where the member may be disrupted. Variables: object (the PetSet), pod (that of the
    member), pods (all pods of the set) and now."""
    http_get: HttpGet | None = None
    """Request to the member: a response of 200 to 299 allows the disruption, one of 400 to 499 denies it, and any other
    is a failure."""
    timeout_seconds: Annotated[int, Field(ge=1, le=30)] = 10
    """Seconds after which a gate that has not answered has failed."""
    failure: Literal["Deny", "Allow"] = "Deny"
    """Whether a gate that fails (a timeout, no connection, an error of the expression) denies or allows."""


class DisruptionSpec(Model):
    """What voluntary disruptions of members have to respect."""

    budget: IntOrString | None = None
    """How many members may be unavailable through voluntary disruptions; a PodDisruptionBudget is created from it."""
    gates: Annotated[list[Gate], Field(max_length=10)] = []
    """Checks that have to allow each voluntary disruption of an available member, in order, before it is evicted."""


class PetSetSpec(Model):
    """The members that are wanted."""

    class_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.selector == oldSelf.selector",
            message="selector is immutable: create another PetSet",
        ),
        Rule(
            "has(self.serviceName) == has(oldSelf.serviceName)"
            " && (!has(self.serviceName) || self.serviceName == oldSelf.serviceName)",
            message="serviceName is immutable: create another PetSet",
        ),
    )

    replicas: NonNegative = 1
    """Number of members."""
    selector: V1LabelSelector
    """Labels by which pods are found; they must be those of the template. Immutable."""
    service_name: Annotated[str, Field(max_length=63)] = ""
    """Headless Service that gives members their DNS names; created when it does not exist. Immutable."""
    template: V1PodTemplateSpec
    """Template of the members' pods."""
    volume_claim_templates: Annotated[list[V1PersistentVolumeClaim], Field(max_length=50)] = []
    """Templates of the claims that each member has, mounted by the volume of their name."""
    volume_update: Literal["Expand", "Recreate"] = "Expand"
    """Which changes of claim templates are allowed: Expand allows a larger request of storage; Recreate also a smaller
    one, another class and other access modes, by deleting claims WITH THEIR DATA and recreating them, one member at a
    time."""
    snapshot_before_update: Annotated[str, Field(max_length=253)] = ""
    """VolumeSnapshotClass by which the claims of a member are snapshotted before it is updated; none if empty. The
    snapshots of the last revisionHistoryLimit updates are kept."""
    min_ready_seconds: NonNegative = 0
    """How long a member must be ready until it is available."""
    revision_history_limit: NonNegative = 10
    """How many old revisions are kept for a rollback."""
    pod_management_policy: Literal["OrderedReady", "Parallel"] = "OrderedReady"
    """OrderedReady creates and removes members one by one; Parallel all at once. Immutable."""
    ordinals: Ordinals = Ordinals()
    """Where the numbering of members begins."""
    persistent_volume_claim_retention_policy: RetentionPolicy = RetentionPolicy()
    """What becomes of the claims of members that are no longer wanted."""
    update_strategy: UpdateStrategy = UpdateStrategy()
    """When and how members get a changed template."""
    reserve_ordinals: Annotated[list[IntOrString], Field(max_length=100)] = []
    """Ordinals, or ranges such as "2-5", that no member gets: members take the next free ones."""
    overrides: Annotated[list[Override], Field(max_length=100)] = []
    """Changes of the template for some members; a changed override updates only the members that it names."""
    member_safety: Literal["BestEffort", "Strict"] = "BestEffort"
    """Strict keeps a member's name taken by a finalizer until its containers are known to be stopped, so that no two
    members of one identity ever run."""
    disruption: DisruptionSpec = DisruptionSpec()
    """What voluntary disruptions of members have to respect."""
    deletion: Literal["Ordered", "Parallel"] = "Ordered"
    """Whether a deleted PetSet removes its members one by one, highest ordinal first, or all at once."""


class MemberStatus(Model):
    """One member."""

    list_map_keys: ClassVar[tuple[str, ...]] = ("ordinal",)

    ordinal: int
    """Ordinal of the member."""
    pod: str
    """Name of its pod."""
    revision: str = ""
    """Revision that the pod was made from."""
    node: str = ""
    """Node that it runs on."""
    phase: str = ""
    """Pending, Running, Succeeded, Failed, Unknown, Missing or Terminating."""
    ready: bool = False
    """Whether the pod is ready."""
    reason: str = ""
    """Why the member is not ready, where the kubelet or the scheduler says so: ImagePullBackOff, Unschedulable."""


class RollbackStatus(Model):
    """A rollout that was replaced by an older revision."""

    from_: Annotated[str, Field(alias="from")]
    """Revision of the template that failed."""
    to: str
    """Revision that is used until the template changes."""
    at: Time
    """When it was decided."""
    reason: str
    """Why the rollout failed."""


class Adoption(Model):
    """A StatefulSet whose members this PetSet has adopted."""

    uid: str
    """uid of the StatefulSet."""
    at: Time
    """When its spec was found to agree."""
    completed: bool = False
    """Whether the StatefulSet is gone and its members can be adopted."""


class ClaimStatus(Model):
    """One claim of a member."""

    list_map_keys: ClassVar[tuple[str, ...]] = ("claim",)

    claim: str
    """Name of the claim."""
    size: str = ""
    """Capacity that it has."""
    requested: str = ""
    """Capacity that its template requests."""
    phase: str = ""
    """Pending, Bound, Lost or Missing."""


class PetSetStatus(Model):
    """The members that there are."""

    observed_generation: int | None = None
    """Generation of the spec that this status describes."""
    replicas: int = 0
    """Pods of this set, those that are terminating included."""
    ready_replicas: int = 0
    """Pods that are ready."""
    available_replicas: int = 0
    """Pods that have been ready for minReadySeconds."""
    current_replicas: int = 0
    """Pods at the current revision."""
    updated_replicas: int = 0
    """Pods at the update revision."""
    current_revision: str = ""
    """Revision that the last completed rollout brought."""
    update_revision: str = ""
    """Revision of the template."""
    collision_count: int | None = None
    """Collisions of names of revisions so far."""
    label_selector: str = ""
    """Selector of the pods as text, for the scale subresource."""
    last_progress_time: Time | None = None
    """When a member was last created, updated, became available or went."""
    conditions: list[Condition] = []
    """Available, Progressing and Degraded."""
    members: list[MemberStatus] = []
    """The members, by ordinal; of a set of more than 500, those that are unavailable, outdated or unwanted."""
    rollback: RollbackStatus | None = None
    """The rollout that was replaced by an older revision, until the template changes."""
    adoption: Adoption | None = None
    """The StatefulSet whose members were adopted, with the annotation apps.operatorkit.dev/adopt-statefulset."""
    volumes: list[ClaimStatus] = []
    """The claims of these members."""


class PetSet(
    Resource[PetSetSpec, PetSetStatus],
    group=GROUP,
    version="v1alpha1",
    short_names=["pets"],
    categories=["all"],
    scale=Scale(label_selector_path=".status.labelSelector"),
    printer_columns=[
        PrinterColumn("Desired", ".spec.replicas", type="integer"),
        PrinterColumn("Ready", ".status.readyReplicas", type="integer"),
        PrinterColumn("Updated", ".status.updatedReplicas", type="integer"),
        PrinterColumn("Revision", ".status.updateRevision"),
        PrinterColumn("Age", ".metadata.creationTimestamp", type="date"),
        PrinterColumn("Service", ".spec.serviceName", priority=1),
        PrinterColumn("Strategy", ".spec.updateStrategy.type", priority=1),
    ],
):
    """Pods with stable names, addresses and volumes, updated in order."""
