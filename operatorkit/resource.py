"""Kinds as classes: `Resource[Spec, Status]`, and one way to read and write objects of any kind.

What belongs here: the class of a custom resource, its metadata, and reading and writing of typed
objects, those of the official client included. What does not: schemas and manifests
(`operatorkit.crd`) and clusters (`operatorkit.cluster`).

    class PostgresSpec(Model):
        replicas: Annotated[int, Field(ge=1)] = 1

    class PostgresStatus(Model):
        conditions: list[Condition] = []

    class Postgres(Resource[PostgresSpec, PostgresStatus], group="db.example.io", version="v1"):
        \"\"\"A PostgreSQL server.\"\"\"
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    Self,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from operatorkit.crd import official
from operatorkit.crd.definition import Definition, PrinterColumn, Scale, plural_of
from operatorkit.crd.fields import (
    Duration,
    IntOrString,
    LabelSelector,
    LabelSelectorRequirement,
    Quantity,
)
from operatorkit.crd.markers import (
    Atomic,
    Embedded,
    ListMap,
    ListSet,
    Nullable,
    PreserveUnknown,
    Rule,
    at_most_one_of,
    exactly_one_of,
    immutable,
)
from operatorkit.crd.model import Model, Time, written
from operatorkit.crd.schema import official_part
from operatorkit.crd.served import resources_by_model
from operatorkit.crd.text import format_duration, parse_duration
from operatorkit.crd.unknown import mark_as_read
from operatorkit.errors import DefinitionError, InvalidObject
from operatorkit.names import ApiResource, GroupVersionKind, ObjectKey

__all__ = [
    "Atomic",
    "Duration",
    "Embedded",
    "IntOrString",
    "LabelSelector",
    "LabelSelectorRequirement",
    "ListMap",
    "ListSet",
    "Model",
    "NoSpec",
    "NoStatus",
    "Nullable",
    "ObjectMeta",
    "OwnerReference",
    "PreserveUnknown",
    "PrinterColumn",
    "Quantity",
    "Resource",
    "Rule",
    "Scale",
    "Time",
    "api_resource_of",
    "at_most_one_of",
    "exactly_one_of",
    "format_duration",
    "immutable",
    "parse_duration",
    "read",
    "write",
]

SpecT = TypeVar("SpecT", bound=BaseModel)
StatusT = TypeVar("StatusT", bound=BaseModel)
T = TypeVar("T")


class OwnerReference(Model):
    """Whom an object belongs to: the garbage collector deletes it after its last owner."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(Model):
    """What every object has; what is unset is empty. Other fields of metadata survive a round trip unseen.

    As a part of a spec, such as in a template, its schema has what such a part can say of objects:
    name, generateName, namespace, labels, annotations and finalizers. The server sets the rest.
    """

    _in_schemas: ClassVar[frozenset[str] | None] = frozenset(
        {"name", "generate_name", "namespace", "labels", "annotations", "finalizers"}
    )

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[OwnerReference] = []
    finalizers: list[str] = []
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    deletion_grace_period_seconds: int | None = None


class NoSpec(Model):
    """The spec of kinds that have none."""

    absent: ClassVar[bool] = True


class NoStatus(Model):
    """The status of kinds that have none: no status subresource is made."""

    absent: ClassVar[bool] = True


def _absent() -> Any:
    """Stand in for what a kind's own type decides, see `Resource._complete`."""
    return None


class Resource(Model, Generic[SpecT, StatusT]):
    """The base of a kind's class: subclass it with the types of spec and status and say what the kind is called.

    Class keywords: `group`, `version` (required); `kind` (the class's name), `plural` (an English
    plural of the kind), `scope` ("Namespaced" or "Cluster"), `short_names`, `categories`,
    `printer_columns`, `scale`, `rules` (CEL on the whole object), `selectable_fields` (JSON paths),
    `served`, `storage`, `deprecated` (True, or the warning), `external` (True for a kind that has
    another owner: it is never installed or packaged, and fields that the class does not know are
    kept when an object is read, and sent only if they were set; False for one of the operator's
    own).

    `spec` and `status` that an object does not have are made from defaults; `status` is None when
    its type has required fields. Raises DefinitionError when the class cannot become a custom
    resource.
    """

    api_version: ClassVar[str] = ""
    kind: ClassVar[str] = ""
    _definition: ClassVar[Definition | None] = None

    # Looking for docstrings below the attributes of Resource[Spec, Status] reads the source of whoever writes that, and
    # fails where the header of the last class of a file takes several lines.
    model_config: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=False)

    metadata: ObjectMeta = Field(default_factory=ObjectMeta)
    spec: SpecT = Field(default_factory=_absent)
    status: StatusT = Field(default_factory=_absent)

    if TYPE_CHECKING:

        def __init_subclass__(
            cls,
            *,
            group: str = "",
            version: str = "",
            kind: str = "",
            plural: str = "",
            scope: Literal["Namespaced", "Cluster"] = "Namespaced",
            short_names: Sequence[str] = (),
            categories: Sequence[str] = (),
            printer_columns: Sequence[PrinterColumn] = (),
            scale: Scale | None = None,
            rules: Sequence[Rule] = (),
            selectable_fields: Sequence[str] = (),
            served: bool = True,
            storage: bool = True,
            deprecated: bool | str = False,
            external: bool | None = None,
        ) -> None: ...

    else:

        def __init_subclass__(cls, **options: Any) -> None:
            """Reject keywords that do not exist; `__pydantic_init_subclass__` takes them once the fields are known."""
            super().__init_subclass__()
            known = [
                field.name for field in dataclasses.fields(Definition) if field.name != "owner"
            ]
            for name in options.keys() - known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}=?" if near else f"there are {', '.join(known)}"
                raise DefinitionError(
                    f"{cls.__name__}: {name}= is not a keyword of a resource: {hint}"
                )

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        """Define the kind. Raises DefinitionError."""
        if not options:
            return  # Resource[Spec, Status] itself, or a class that other resources share
        kind = options.pop("kind", "") or cls.__name__
        definition = Definition(
            owner=cls.__name__,
            group=options.pop("group", ""),
            version=options.pop("version", ""),
            kind=kind,
            plural=options.pop("plural", "") or plural_of(kind),
            **options,
        )
        for name in ("spec", "status"):
            cls._check_part(name)
        if not issubclass(_model_of(cls.model_fields["metadata"].annotation) or object, ObjectMeta):
            raise DefinitionError(
                f"{cls.__name__}: metadata is reserved for Kubernetes: put your own data into spec"
            )
        cls._definition = definition
        cls.kind = kind
        cls.api_version = definition.api_resource.api_version
        if cls.__pydantic_complete__:  # otherwise a type is still to come, and `crd` finds out
            definition.check(cls)

    @classmethod
    def _check_part(cls, name: str) -> None:
        annotation = cls.model_fields[name].annotation
        model = _model_of(annotation)
        if isinstance(annotation, TypeVar):
            raise DefinitionError(
                f"{cls.__name__}: the types of spec and status are missing: write "
                f"class {cls.__name__}(Resource[{cls.__name__}Spec, {cls.__name__}Status], ...)"
            )
        if model is None or not issubclass(model, Model):
            found = getattr(annotation, "__name__", str(annotation))
            raise DefinitionError(
                f"{cls.__name__}: the type of its {name}, {found}, is not a model: derive it from operatorkit.Model, "
                f"or write operatorkit.resource.No{name.capitalize()} if the kind has none"
            )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Make the spec and the status that are absent, without marking them as set."""
        values = vars(self)
        for name in ("spec", "status"):
            if values[name] is None:
                values[name] = _default_of(type(self), name)
        return self

    @property
    def key(self) -> ObjectKey:
        """Namespace (empty for cluster-scoped kinds) and name."""
        return ObjectKey(self.metadata.namespace, self.metadata.name)

    @classmethod
    def api_resource(cls) -> ApiResource:
        """Return how API servers serve the kind. Raises DefinitionError for a class without `group=` and `version=`."""
        return cls._defined().api_resource

    @classmethod
    def crd(cls) -> dict[str, Any]:
        """Return the CustomResourceDefinition that makes an API server serve the kind, in a stable order.

        That of an external kind is a stand-in for tests and development: it keeps every field, and
        checks none.
        """
        return cls._defined().manifest(cls)

    @classmethod
    def external(cls) -> bool | None:
        """Return what the keyword `external` says: True, False, or None if it was not given."""
        return cls._defined().external

    @classmethod
    def _defined(cls) -> Definition:
        if cls._definition is None:
            raise DefinitionError(
                f"{cls.__name__} has no group and version: write "
                f'class {cls.__name__}(Resource[Spec, Status], group="example.io", version="v1")'
            )
        return cls._definition

    @classmethod
    def read(cls, obj: Mapping[str, Any]) -> Self:
        """Read an object of this kind; fields that the class does not know are kept.

        Raises InvalidObject, which names object, field and what was found.
        """
        definition = cls._defined()
        if obj.get("apiVersion") != cls.api_version or obj.get("kind") != cls.kind:
            found = GroupVersionKind.of(str(obj.get("apiVersion", "")), str(obj.get("kind", "")))
            raise InvalidObject(f"{_name_of(obj)} is a {found}, not a {cls.api_resource().gvk}")
        try:
            result = cls.model_validate(
                {key: obj[key] for key in obj if key not in {"apiVersion", "kind"}}
            )
        except ValidationError as error:
            raise InvalidObject(
                f"{cls.kind} {_name_of(obj)} cannot be read: {official.first_error(error)}",
                causes=official.causes(error),
            ) from error
        if definition.external:
            mark_as_read(result)
        return result

    def write(self) -> dict[str, Any]:
        """Return the object as JSON: what was set or changed, no defaults, no None.

        Raises InvalidObject for a value that its field's type does not allow.
        """
        missing = {name for name in ("spec", "status") if self.__dict__[name] is None}
        data = written(self, f"{self.kind} {self.key}", exclude=missing)
        for name in ("metadata", "spec", "status"):
            if name not in self.model_fields_set and not data.get(name, True):
                del data[name]
        return {"apiVersion": self.api_version, "kind": self.kind, **data}


def _default_of(type_: type[Resource[Any, Any]], name: str) -> BaseModel | None:
    model = _default_model(type_, name)
    return None if model is None else model()


@functools.lru_cache(maxsize=1024)
def _default_model(type_: type[Resource[Any, Any]], name: str) -> type[BaseModel] | None:
    """Return the model that stands in for an absent spec or status; None if it cannot be made of nothing."""
    model = _model_of(type_.model_fields[name].annotation)
    if model is None or any(field.is_required() for field in model.model_fields.values()):
        return None
    return model


def _model_of(annotation: Any) -> type[BaseModel] | None:
    """Return the model in `Spec` or `Spec | None`."""
    if get_origin(annotation) in {Union, types.UnionType}:
        return next(
            (model for part in get_args(annotation) if (model := _model_of(part)) is not None), None
        )
    return annotation if inspect.isclass(annotation) and issubclass(annotation, BaseModel) else None


def _name_of(obj: Mapping[str, Any]) -> str:
    metadata = obj.get("metadata")
    if not isinstance(metadata, Mapping):
        return "an object without a name"
    return str(
        ObjectKey(
            str(metadata.get("namespace") or ""), str(metadata.get("name") or "without a name")
        )
    )


def api_resource_of(type_: type[Any]) -> ApiResource:
    """Return how API servers serve the kind of a Resource class or of a model of the official client.

    Raises DefinitionError for any other type, and for models that are only parts of objects.
    """
    if inspect.isclass(type_) and issubclass(type_, Resource):
        return type_.api_resource()
    if official.is_official(type_):
        found = resources_by_model().get(type_.__name__)
        if found is not None:
            return found
        raise DefinitionError(f"{type_.__name__} is not a kind: it is a part of other objects")
    raise DefinitionError(
        f"{getattr(type_, '__name__', type_)!r} is not a kind: give a subclass of operatorkit.Resource, or a model "
        "such as kubernetes.client.models.V1ConfigMap"
    )


def read(type_: type[T], obj: Mapping[str, Any]) -> T:
    """Read an object as a Resource class or as a model of the official client, keeping fields it does not know.

    Raises InvalidObject, which names object, field and what was found.
    """
    if issubclass(type_, Resource):
        return cast("T", type_.read(obj))
    if official.is_official(type_):
        try:
            return cast("T", official.read(cast("type[BaseModel]", type_), obj))
        except InvalidObject as error:
            raise InvalidObject(f"{_name_of(obj)}: {error}", causes=error.causes) from error
    raise DefinitionError(
        f"{type_.__name__} is neither a Resource nor a model of the official client"
    )


def write(obj: Any) -> dict[str, Any]:
    """Return a typed object as JSON, with its apiVersion and kind: only fields that were set, and no None.

    A dictionary is taken as it is (a copy). Raises InvalidObject for a value that its field's type
    does not allow.
    """
    if isinstance(obj, Resource):
        return obj.write()
    if isinstance(obj, Mapping):
        return dict(obj)
    resource = api_resource_of(type(obj))
    data = cast("dict[str, Any]", official.plain(obj))
    return {"apiVersion": resource.api_version, "kind": resource.kind} | {
        key: value for key, value in data.items() if key not in {"apiVersion", "kind"}
    }


def schema_of_parts(type_: type[Any], names: Iterable[str]) -> Mapping[str, Any]:
    """Return the structural schema of a kind, of those of its properties that are in `names`; unknown ones left out.

    Of the metadata, it has labels and annotations. Raises DefinitionError for a type that is not a kind.
    """
    texts = {"type": "object", "additionalProperties": {"type": "string"}}
    parts: dict[str, Any] = {
        "metadata": {"type": "object", "properties": {"labels": texts, "annotations": texts}}
    }
    if inspect.isclass(type_) and issubclass(type_, Resource):
        [version] = type_.crd()["spec"]["versions"]
        known: Mapping[str, Any] = version["schema"]["openAPIV3Schema"].get("properties", {})
        parts |= {name: known[name] for name in names if name in known and name not in parts}
    else:
        found = {name: official_part(type_, name) for name in names if name not in parts}
        parts |= {name: part for name, part in found.items() if part is not None}
    return {"type": "object", "properties": parts}


def status_schema(type_: type[Any]) -> Mapping[str, Any] | None:
    """Return the structural schema of the status of a kind, or None where there is no status, or its schema is unknown.

    Raises DefinitionError for a type that is not a kind.
    """
    if inspect.isclass(type_) and issubclass(type_, Resource):
        [version] = type_.crd()["spec"]["versions"]
        return cast(
            "Mapping[str, Any] | None",
            version["schema"]["openAPIV3Schema"]["properties"].get("status"),
        )
    return official_part(type_, "status")
