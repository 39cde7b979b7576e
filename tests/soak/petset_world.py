"""A PetSet in a model of a cluster, for tests: pods live, or fail as a test says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from operators.petset.api import PetSet
from operators.petset.simulation import Simulation
from operators.petset.state import Failure, Member, Snapshot
from operators.petset.template import template_of

START = datetime(2026, 1, 1, tzinfo=UTC)


def petset(name: str = "web", **spec: Any) -> PetSet:
    """Return a PetSet; `image` is that of its one container."""
    image = spec.pop("image", "web:1")
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "app", "image": image}]}}
    body = {"replicas": 3, "selector": {"matchLabels": labels}, "template": template, **spec}
    return PetSet.read(
        {
            "apiVersion": PetSet.api_version,
            "kind": "PetSet",
            "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "generation": 1},
            "spec": body,
        }
    )


class World(Simulation):
    """A PetSet and its pods; `broken` are images that never become ready."""

    def __init__(self, pets: PetSet, *, broken: set[str] | None = None) -> None:
        super().__init__(pets, _nothing(pets))
        self.broken = broken or set()

    def change(self, **spec: Any) -> None:
        """Change fields of the spec; `image` changes the template."""
        written = self.pets.write()
        if "image" in spec:
            written["spec"]["template"]["spec"]["containers"][0]["image"] = spec.pop("image")
        written["spec"].update(spec)
        status = self.pets.status
        self.pets = PetSet.read(written)
        self.pets.status = status

    def delete(self) -> None:
        """Delete the PetSet: its finalizer keeps it."""
        self.pets.metadata.deletion_timestamp = self.now

    def create(self, step: Any) -> None:
        assert step.ordinal not in self.members, f"two pods named {step.pod}"
        super().create(step)

    def execute(self, step: Any) -> None:
        member = getattr(step, "member", None)
        if member is not None and member.ordinal in self.members:
            assert self.members[member.ordinal].uid == member.uid, f"{step} is not about the pod that there is"
        super().execute(step)

    def image(self, member: Member) -> str:
        """Return the image of a member's container."""
        return template_of(self.revisions[member.revision].data)["spec"]["containers"][0]["image"]

    def after_a_while(self, member: Member) -> Member | None:
        if not member.terminating and self.image(member) in self.broken:
            return replace(member, failure=Failure("ImagePullBackOff", "no such image", "app"))
        return super().after_a_while(member)

    def states(self) -> dict[str, str]:
        """Return the image of each member, and whether it is not ready."""
        return {
            member.pod: self.image(member) + ("" if member.ready else " not ready")
            for _, member in sorted(self.members.items())
        }


def _nothing(pets: PetSet) -> Snapshot:
    return Snapshot(
        name=pets.metadata.name,
        uid=pets.metadata.uid or "",
        spec=pets.spec,
        status=pets.status,
        template=pets.write()["spec"]["template"],
        now=START,
    )
