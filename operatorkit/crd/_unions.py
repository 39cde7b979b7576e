"""Unions, as far as a structural schema can say them.

What belongs here: unions of models that a field distinguishes, as one object with rules; unions of
scalars of one type. What does not: `Optional` and int-or-string (`operatorkit.crd.schema`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

from pydantic import BaseModel, Discriminator

from operatorkit.crd._place import Place
from operatorkit.crd.text import cel_name

__all__ = ["discriminated", "merged"]

Schema = dict[str, Any]

_REMEDY = (
    'give each model a field such as `type: Literal["s3"]` and write '
    'Annotated[S3 | Azure, Field(discriminator="type")], or one model with optional fields and exactly_one_of(...)'
)


def merged(schemas: Sequence[Schema], choices: Sequence[Any], place: Place) -> Schema:
    """Return the schema of a union of scalars of one type, such as of two Literals."""
    kinds = {schema.get("type") for schema in schemas}
    names = " | ".join(getattr(choice, "__name__", str(choice)) for choice in choices)
    if len(kinds) != 1 or kinds & {"object", "array", None}:
        raise place.error(f"the union {names} has no structural schema", _REMEDY)
    if all("enum" in schema for schema in schemas):
        return {
            "type": kinds.pop(),
            "enum": [value for schema in schemas for value in schema["enum"]],
        }
    return {"type": kinds.pop()}


def discriminated(
    annotation: Any,
    discriminator: str | Discriminator,
    place: Any,
    schema_of: Callable[[type[BaseModel], Any], Schema],
) -> Schema:
    """Return one object with the fields of all models, and rules that say which belong to which.

    The discriminating field is an enum of all its values; a field that only some models have may be
    set for those only, and is required for those that require it.
    """
    models = [choice for choice in get_args(annotation) if choice is not type(None)]
    if not isinstance(discriminator, str):
        raise place.error(
            "the union is discriminated by a function",
            "use a field of all models instead",
        )
    key = ""
    variants: dict[str, Schema] = {}
    for model in models:
        field = model.model_fields[discriminator]
        key = str(field.serialization_alias or field.alias or discriminator)
        schema = schema_of(model, place)
        for value in schema["properties"][key].get("enum", ()):
            variants[str(value)] = schema
    properties = _all_properties(variants, key, place)
    properties[key] = {"type": "string", "enum": list(variants)}
    always = [
        name
        for name in properties
        if all(name in schema.get("required", ()) for schema in variants.values())
    ]
    required = list(dict.fromkeys([key, *always]))
    rules = [
        rule
        for name in properties
        if name != key
        for rule in _field_rules(name, key, variants, required)
    ]
    rules += _variant_rules(key, variants)
    union: Schema = {"type": "object", "properties": properties, "required": required}
    if rules:
        union["x-kubernetes-validations"] = rules
    return union


def _all_properties(variants: dict[str, Schema], key: str, place: Place) -> Schema:
    properties: Schema = {}
    for value, schema in variants.items():
        for name, child in schema["properties"].items():
            known = properties.setdefault(name, child)
            if name != key and _shape(known) != _shape(child):
                raise place.error(
                    f"the field {name} is not the same in all models of the union (it differs for {value!r})",
                    "give it another name, or make it the same",
                )
    return {
        name: {word: part for word, part in child.items() if word != "default"}
        if name != key
        else child
        for name, child in properties.items()
    }


def _shape(schema: Schema) -> Schema:
    return {word: part for word, part in schema.items() if word not in {"description", "default"}}


def _field_rules(
    name: str, key: str, variants: dict[str, Schema], required: Sequence[str]
) -> list[Schema]:
    having = [value for value, schema in variants.items() if name in schema["properties"]]
    needing = [value for value in having if name in variants[value].get("required", ())]
    rules = []
    if len(having) < len(variants):
        rules.append(
            {
                "rule": f"!has(self.{cel_name(name)}) || {_is_one_of(key, having)}",
                "message": f"{name} may be set only if {key} is {' or '.join(having)}",
                "reason": "FieldValueForbidden",
                "fieldPath": f".{name}",
            }
        )
    if needing and name not in required:
        rules.append(
            {
                "rule": f"has(self.{cel_name(name)}) || !({_is_one_of(key, needing)})",
                "message": f"{name} must be set if {key} is {' or '.join(needing)}",
                "reason": "FieldValueRequired",
                "fieldPath": f".{name}",
            }
        )
    return rules


def _variant_rules(key: str, variants: dict[str, Schema]) -> list[Schema]:
    """Return the rules of the models themselves, each holding for its own values of the discriminator."""
    return [
        {**rule, "rule": f"self.{cel_name(key)} != '{value}' || ({rule['rule']})"}
        for value, schema in variants.items()
        for rule in schema.get("x-kubernetes-validations", ())
    ]


def _is_one_of(key: str, values: Sequence[str]) -> str:
    return " || ".join(f"self.{cel_name(key)} == '{value}'" for value in values)
