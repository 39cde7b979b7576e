"""Checking a value against a schema, as the API server does, with its messages.

What belongs here: one small function per keyword, and the order in which they run. What does not:
pruning and defaults (`operatorkit.crd._prune`), lists that are maps or sets
(`operatorkit.crd._lists`), rules in CEL.

Source: k8s.io/kube-openapi/pkg/validation (behaviour), k8s.io/apiextensions-apiserver/pkg/apiserver/validation (paths)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from operatorkit.crd._correlate import Pair, same
from operatorkit.crd._formats import is_known, matches
from operatorkit.crd._node import Node
from operatorkit.crd._patterns import search
from operatorkit.crd.field_errors import (
    NO_PATH,
    FieldError,
    Result,
    invalid,
    not_supported,
    required,
)
from operatorkit.crd.golang import is_integral, number, quote

__all__ = ["validate"]

_INT32, _INT64, _FLOAT32_MAX = 2**31, 2**63, 3.4028234663852886e38


def validate(node: Node, value: Any, path: str = "", *, pair: Pair | None = None) -> Result:
    """Check a value; with `pair`, errors of parts that equal their old ones are forgiven."""
    result = Result()
    if value is None:
        result.merge(_type(node, value, path))
        _enum(node, value, path, result)
        return _forgive(result, pair)
    if node.types or node.format:
        result.merge(_type(node, value, path))
        result.matches += 1
    result.merge(_compositions(node, value, path))
    result.matches += 1
    if isinstance(value, str):
        _string(node, value, path, result)
        result.matches += 1
        if is_known(node.format):
            _format(node, value, path, result)
            result.matches += 1
    elif isinstance(value, int | float) and not isinstance(value, bool):
        result.merge(_number(node, value, path))
        result.matches += 1
    elif isinstance(value, list):
        result.merge(_list(node, value, path, pair))
        result.matches += 1
    _enum(node, value, path, result)
    result.matches += 1
    if isinstance(value, dict):
        result.merge(_object(node, value, path, pair))
        result.matches += 1
    result.matches += 1
    return _forgive(result, pair)


def _forgive(result: Result, pair: Pair | None) -> Result:
    if pair is None or result.valid or not pair.equal():
        return result
    return Result(matches=result.matches)


def _field(path: str) -> str:
    return path.removeprefix(".") or NO_PATH


def _add_error(result: Result, path: str, value: Any, rest: str) -> None:
    """Add the error that most keywords have: the value, and a sentence about the path."""
    text = f"{path} in body {rest}"
    result.add(text, invalid(_field(path), value, text))


def _pathless(result: Result, text: str) -> None:
    result.add(text, invalid(NO_PATH, "", text))


def _type_of(value: Any) -> tuple[str, str]:
    if isinstance(value, bool):
        return "boolean", ""
    if isinstance(value, str):
        return "string", ""
    if isinstance(value, int):
        return ("integer", "int64") if -_INT64 <= value < _INT64 else ("number", "float64")
    if isinstance(value, float):
        return "number", "float64"
    return ("array", "") if isinstance(value, list) else ("object", "")


def _type(node: Node, value: Any, path: str) -> Result:
    if value is None:
        if node.types and not node.nullable:
            return _wrong_type(path, ",".join(node.types), "null")
        return Result(matches=1)
    found, format_ = _type_of(value)
    fits = (
        found in node.types
        or (found == "number" and "integer" in node.types and is_integral(float(value)))
        or (found == "integer" and "number" in node.types)
    )
    textual = isinstance(value, str | list)
    if not textual and node.format and not (fits or format_ == node.format):
        return _wrong_type(path, node.format, format_)
    if textual and node.format and not ("number" in node.types or "integer" in node.types):
        return Result(matches=1)
    return Result(matches=1) if fits else _wrong_type(path, ",".join(node.types), found)


def _wrong_type(path: str, wanted: str, found: str) -> Result:
    result = Result()
    text = f"{path} in body must be of type {wanted}: {quote(found)}"
    result.add(text, invalid(_field(path), found, text, reason="FieldValueTypeInvalid"))
    return result


def _enum(node: Node, value: Any, path: str, result: Result) -> None:
    if node.enum and not any(_is_member(value, allowed) for allowed in node.enum):
        result.add(
            f"{path} in body should be one of {node.enum}",
            not_supported(_field(path), value, node.enum),
        )


def _is_member(value: Any, allowed: Any) -> bool:
    if value is None or allowed is None:
        return False
    if _is_number(value) and _is_number(allowed):
        return bool(
            type(allowed)(value) == allowed
        )  # Go converts the value to the type of the allowed one
    return same(value, allowed)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _string(node: Node, value: str, path: str, result: Result) -> None:
    length = len(value)
    if node.max_length is not None and length > node.max_length:
        text = f"{path} in body should be at most {node.max_length} chars long"
        unit = "byte" if node.max_length == 1 else "bytes"
        message = f"Too long: may not be more than {node.max_length} {unit}"
        result.add(text, FieldError(_field(path), "FieldValueTooLong", message))
    elif node.min_length is not None and length < node.min_length:
        _add_error(result, path, value, f"should be at least {node.min_length} chars long")
    elif node.pattern and not search(node.pattern, value):
        _add_error(result, path, value, f"should match '{node.pattern}'")


def _format(node: Node, value: str, path: str, result: Result) -> None:
    if not matches(node.format, value):
        text = f"{path} in body must be of type {node.format}: {quote(value)}"
        result.add(text, invalid(_field(path), value, text, reason="FieldValueTypeInvalid"))


def _in_range(node: Node, value: float) -> bool:
    """Return whether a number can be converted to the schema's type and format without loss."""
    kind = node.types[0] if len(node.types) == 1 else ""
    if kind == "integer":
        if value != int(value):
            return False
        bound = _INT32 if node.format == "int32" else _INT64
        return -bound <= value < bound
    return not (kind == "number" and node.format == "float" and abs(value) > _FLOAT32_MAX)


def _check_range(node: Node, value: float, what: str, path: str, result: Result) -> None:
    if _in_range(node, value):
        return
    format_ = f"with format {node.format}" if node.format else "(default format)"
    _pathless(result, f"{what} value must be of type {node.types[0]} {format_} in {path}")


def _number(node: Node, value: float, path: str) -> Result:
    result = Result()
    if isinstance(value, int) and not -_INT64 <= value < _INT64:
        value = float(value)
    _check_range(node, value, "Checked", path, result)
    if node.multiple_of is not None:
        _check_range(node, node.multiple_of, "MultipleOf", path, result)
        _multiple(*_operands(node, value, node.multiple_of), path, result)
    if node.minimum is not None:
        _check_range(node, node.minimum, "Minimum boundary", path, result)
        found, bound = _operands(node, value, node.minimum)
        if found < bound or (node.exclusive_minimum and found == bound):
            words = "greater than" if node.exclusive_minimum else "greater than or equal to"
            _add_error(result, path, found, f"should be {words} {number(bound)}")
    if node.maximum is not None:
        _check_range(node, node.maximum, "Maximum boundary", path, result)
        found, bound = _operands(node, value, node.maximum)
        if found > bound or (node.exclusive_maximum and found == bound):
            words = "less than" if node.exclusive_maximum else "less than or equal to"
            _add_error(result, path, found, f"should be {words} {number(bound)}")
    result.matches += 1
    return result


def _operands(node: Node, value: float, limit: float) -> tuple[float, float]:
    """Return value and limit in the type in which they are compared: integers, where the limit allows that."""
    if not isinstance(value, int) or not _in_range(node, limit):
        return float(value), float(limit)
    return value, int(
        limit
    ) if -_INT64 <= limit < _INT64 else -_INT64  # what Go makes of a float that is too large


def _multiple(value: float, factor: float, path: str, result: Result) -> None:
    if factor <= 0:
        text = f"factor MultipleOf declared for {path} must be positive: {number(factor)}"
        result.add(text, invalid(_field(path), factor, text))
        return
    if isinstance(factor, int):
        divides = value % factor == 0
    else:
        divides = is_integral(1 / factor * value if factor < 1 else value / factor)
    if not divides:
        _add_error(result, path, value, f"should be a multiple of {number(factor)}")


def _list(node: Node, value: list[Any], path: str, pair: Pair | None) -> Result:
    result = Result()
    if node.items is not None:
        for index, item in enumerate(value):
            child = None if pair is None else pair.index(index)
            result.merge(validate(node.items, item, f"{path}[{index}]", pair=child))
    size = len(value)
    if node.min_items is not None and size < node.min_items:
        _add_error(result, path, size, f"should have at least {node.min_items} items")
    if node.max_items is not None and size > node.max_items:
        text = f"{path} in body should have at most {node.max_items} items"
        result.add(text, _too_many(path, size, node.max_items))
    if node.unique_items and any(
        same(one, other) for at, one in enumerate(value) for other in value[:at]
    ):
        _add_error(result, path, "", "shouldn't contain duplicates")
    result.matches += 1
    return result


def _too_many(path: str, size: int, limit: int) -> FieldError:
    unit = "item" if limit == 1 else "items"
    return FieldError(
        _field(path), "FieldValueTooMany", f"Too many: {size}: must have at most {limit} {unit}"
    )


def _object(node: Node, value: dict[str, Any], path: str, pair: Pair | None) -> Result:
    result = Result()
    size = len(value)
    if node.min_properties is not None and size < node.min_properties:
        _add_error(result, path, size, f"should have at least {node.min_properties} properties")
    if node.max_properties is not None and size > node.max_properties:
        text = f"{path} in body should have at most {node.max_properties} properties"
        result.add(text, _too_many(path, size, node.max_properties))
    for key in sorted(value.keys() - node.properties.keys()):
        if node.additional_forbidden:
            text = f"{path}.{key} in body is a forbidden property"
            result.add(text, invalid(_field(path), key, text))
        elif node.additional is not None:
            child = _pair_of(pair, key, path)
            result.merge(validate(node.additional, value[key], f"{path}.{key}", pair=child))
    for key, property_ in node.properties.items():
        if key in value:
            child = _pair_of(pair, key, path)
            result.merge(
                validate(property_, value[key], f"{path}.{key}" if path else key, pair=child)
            )
    for key in node.required:
        if key not in value:
            result.add(f"{path}.{key} in body is required", required(_field(f"{path}.{key}")))
    return result


def _pair_of(pair: Pair | None, key: str, path: str) -> Pair | None:
    if pair is None or (not path and key in {"kind", "apiVersion"}):
        return None
    return pair.key(key)


def _compositions(node: Node, value: Any, path: str) -> Result:
    """Check anyOf, oneOf, allOf and not; of alternatives that all fail, the one with most matches is reported.

    Inside of them nothing is forgiven: only the schema around them is compared with the old value.
    """
    result = Result()
    if node.any_of:
        _any_of(node.any_of, value, path, result)
    if node.one_of:
        _one_of(node.one_of, value, path, result)
    if node.all_of:
        _all_of(node.all_of, value, path, result)
    if node.negated is not None and validate(node.negated, value, path).valid:
        _pathless(result, f"{quote(path)} must not validate the schema (not)")
    result.matches += 1
    return result


def _any_of(nodes: Sequence[Node], value: Any, path: str, result: Result) -> None:
    best: Result | None = None
    for node in nodes:
        each = validate(node, value, path)
        if each.valid:
            result.merge(each)
            return
        if best is None or each.matches > best.matches:
            best = each
    _pathless(result, f"{quote(path)} must validate at least one schema (anyOf)")
    assert best is not None
    result.merge(best)


def _one_of(nodes: Sequence[Node], value: Any, path: str, result: Result) -> None:
    best: Result | None = None
    valid: list[Result] = []
    for node in nodes:
        each = validate(node, value, path)
        if each.valid:
            valid.append(each)
            best = None
        elif not valid and (best is None or each.matches > best.matches):
            best = each
    if len(valid) == 1:
        result.merge(valid[0])
        return
    detail = f"Found {len(valid)} valid alternatives" if valid else "Found none valid"
    _pathless(result, f"{quote(path)} must validate one and only one schema (oneOf). {detail}")
    if best is not None:
        result.merge(best)


def _all_of(nodes: Sequence[Node], value: Any, path: str, result: Result) -> None:
    valid = 0
    for node in nodes:
        each = validate(node, value, path)
        valid += each.valid
        result.merge(each)
    if valid != len(nodes):
        detail = "" if valid else ". None validated"
        _pathless(result, f"{quote(path)} must validate all the schemas (allOf){detail}")
