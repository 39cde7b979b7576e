"""What to ask of a schema: values for every keyword, and schemas that break each rule.

The answers of a real kube-apiserver are in recorded.json, which tests/real/record_schemas.py writes.
"""

from __future__ import annotations

from typing import Any

INT = {"type": "integer"}
STR = {"type": "string"}
NUM = {"type": "number"}
OBJ = {"type": "object"}
KEYED = {"type": "object", "required": ["k"], "properties": {"k": STR, "v": {"type": "integer", "minimum": 1}}}
PAIR = {"type": "object", "properties": {"a": STR, "b": STR, "n": INT}}


def _array(items: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": items, **more}


def _int_or_string(**more: Any) -> dict[str, Any]:
    return {"x-kubernetes-int-or-string": True, **more}


# field -> (its schema, the values to try)
VALUES: dict[str, tuple[dict[str, Any], list[Any]]] = {
    "integer": (INT, [1, 0, -1, 1.5, 1.0, "1", True, [], {}, None, 2**53, 2**63 - 1, 1e21]),
    "number": (NUM, [1, 1.5, "x", None, 1e300, True, [1]]),
    "string": (STR, ["a", "", 1, 1.5, False, None, ["a"], {"a": "b"}]),
    "boolean": ({"type": "boolean"}, [True, "true", 1, 0, None]),
    "object": (PAIR, [{}, {"a": "x"}, {"a": 1, "b": 2}, "x", 5, [], None, {"n": "x", "a": 1}]),
    "array": (_array(INT), [[], [1, 2], [1, "x", 2.5], "x", {}, None, [None]]),
    "nullable": ({"type": "string", "nullable": True}, [None, "a", 1]),
    "minimum": ({"type": "integer", "minimum": 3}, [3, 2, 2.0, 4.5, "x"]),
    "maximum": ({"type": "integer", "maximum": 3}, [3, 4, 4.0]),
    "exclusiveMinimum": ({"type": "integer", "minimum": 3, "exclusiveMinimum": True}, [3, 4, 2]),
    "exclusiveMaximum": ({"type": "number", "maximum": 3.5, "exclusiveMaximum": True}, [3.5, 3.4, 4, 3]),
    "numberBounds": ({"type": "number", "minimum": 1e22, "maximum": 0.000001}, [1, 0.5, 1e25]),
    "fractionalBound": ({"type": "integer", "minimum": 0.5, "maximum": 2.5}, [0, 1, 3, 10**7]),
    "multipleOf": ({"type": "integer", "multipleOf": 5}, [10, 7, 7.0, 0, -5, -3]),
    "multipleOfFraction": ({"type": "number", "multipleOf": 0.25}, [0.5, 0.3, 1, 2.75]),
    "multipleOfLarge": ({"type": "number", "multipleOf": 2.5}, [5, 5.0, 7.5, 6.0]),
    "int32": ({"type": "integer", "format": "int32"}, [2**31, 2**31 - 1, -(2**31) - 1, 5.0]),
    "int64": ({"type": "integer", "format": "int64"}, [2**62, 1e19, "x", 1.5]),
    "float": ({"type": "number", "format": "float"}, [1e39, 1e38, 1]),
    "double": ({"type": "number", "format": "double"}, [1e39, "x"]),
    "minLength": ({"type": "string", "minLength": 3}, ["ab", "abc", "äö", ""]),
    "maxLength": ({"type": "string", "maxLength": 3}, ["abcd", "abc", "äöü"]),
    "maxLengthOne": ({"type": "string", "maxLength": 1}, ["ab"]),
    "lengths": ({"type": "string", "minLength": 5, "maxLength": 3, "pattern": "^x"}, ["abcd", "abc"]),
    "pattern": ({"type": "string", "pattern": "^a+$"}, ["aa", "b", 'q"u\n\u2028ote<&>\x01\u00e9']),
    "patternAnywhere": ({"type": "string", "pattern": "b"}, ["abc", "ac"]),
    "enum": ({"type": "string", "enum": ["a", "b"]}, ["a", "c", 1, ""]),
    "enumInt": ({"type": "integer", "enum": [1, 2]}, [1, 3, 1.0, 1.5]),
    "enumNumber": ({"type": "number", "enum": [1.5, 2]}, [1.5, 2, 3, 2.0]),
    "enumNullable": ({"type": "string", "nullable": True, "enum": ["a"]}, [None, "a"]),
    "enumObject": ({"type": "object", "properties": {"a": INT}, "enum": [{"a": 1}]}, [{"a": 1}, {"a": 2}]),
    "minItems": (_array(INT, minItems=2), [[1], [1, 2], []]),
    "maxItems": (_array(INT, maxItems=1), [[1, 2], [1], [1, "x"]]),
    "minProperties": ({"type": "object", "additionalProperties": INT, "minProperties": 1}, [{}, {"a": 1}]),
    "maxProperties": ({"type": "object", "additionalProperties": INT, "maxProperties": 1}, [{"a": 1, "b": 2}]),
    "required": ({**PAIR, "required": ["a", "b"]}, [{}, {"a": "x"}, {"a": "x", "b": "y"}, {"a": None, "b": 1}]),
    "additional": ({"type": "object", "additionalProperties": INT}, [{"a": 1}, {"a": "x", "b.c/d": "y"}, {}]),
    "additionalTrue": ({"type": "object", "additionalProperties": True}, [{"a": 1}, 5]),
    "preserve": ({"x-kubernetes-preserve-unknown-fields": True}, [1, "x", {"a": {"b": None}}, [1], None]),
    "preserveObject": ({**PAIR, "x-kubernetes-preserve-unknown-fields": True}, [{"z": 1, "a": 5}, {"z": {"y": 1}}, 1]),
    "intOrString": (_int_or_string(), [1, "x", 1.5, 1.0, True, {}, None]),
    "intOrStringPattern": (
        _int_or_string(anyOf=[{"type": "integer"}, {"type": "string"}], pattern="^x$"),
        [1, "x", "y", 1.5, True],
    ),
    "intOrStringAllOf": (
        _int_or_string(allOf=[{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"maximum": 5}]),
        [1, 9, "x", False],
    ),
    "embedded": (
        {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
        [{}, {"apiVersion": "v1", "kind": "Pod", "z": 1}, {"apiVersion": "a/b/c", "kind": "x.y"}, {"kind": ""}],
    ),
    "set": (_array(STR, **{"x-kubernetes-list-type": "set"}), [["a", "b"], ["a", "a"], ["a", "a", "a", "b", "b"]]),
    "setOfLists": (
        _array(_array(INT), **{"x-kubernetes-list-type": "set"}),
        [[[1], [2]], [[1], [1]]],
    ),
    "map": (
        _array(KEYED, **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}),
        [[{"k": "a"}, {"k": "b"}], [{"k": "a"}, {"k": "a"}], [{}, {}], [{"k": "a", "v": 0}], ["x"]],
    ),
    "mapOfTwo": (
        _array(
            {**PAIR, "required": ["a", "b"]},
            **{"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"]},
        ),
        [[{"a": "1", "b": "2"}, {"a": "1", "b": "3"}], [{"a": "1", "b": "2"}, {"a": "1", "b": "2"}]],
    ),
    "anyOf": ({**PAIR, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, [{}, {"a": "x"}, {"a": "x", "b": "y"}]),
    "anyOfBest": (
        {
            **PAIR,
            "anyOf": [
                {"properties": {"a": {"enum": ["x"]}}, "required": ["a", "b"]},
                {"properties": {"n": {"minimum": 5}}, "required": ["n"]},
            ],
        },
        [{}, {"a": "y"}, {"n": 1}, {"a": "x"}, {"a": "y", "n": 1}],
    ),
    "oneOf": ({**PAIR, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, [{}, {"a": "x"}, {"a": "x", "b": "y"}]),
    "oneOfValues": (
        {"type": "integer", "oneOf": [{"minimum": 5}, {"multipleOf": 2}, {"maximum": 1}]},
        [3, 4, 7, 6, 0, "x"],
    ),
    "allOf": ({"type": "string", "allOf": [{"minLength": 3}, {"pattern": "^a"}]}, ["abc", "bc", "ab", "bcd"]),
    "not": ({"type": "string", "not": {"enum": ["a"]}}, ["a", "b", 1]),
    "notNested": ({**PAIR, "not": {"properties": {"a": {"enum": ["x"]}}, "required": ["a"]}}, [{"a": "x"}, {"a": "y"}]),
    "deep": (
        _array({"type": "object", "additionalProperties": _array({**PAIR, "required": ["n"]})}),
        [[{"k": [{}]}], [{"k": [{"n": 1}, {"n": "x"}]}], [{"k": {}}], [5]],
    ),
}

FORMATS: dict[str, list[str]] = {
    "date-time": [
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05.123+01:00",
        "2026-01-02",
        "2026-01-02 03:04:05Z",
        "2026-02-30T03:04:05Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02t03:04:05z",
        "2026-01-02T03:04:05",
        "x",
        "2026-01-02T03:04:60Z",
        "2026-01-02T03:04:05+99:99",
        "0000-02-29T00:00:00Z",
    ],
    "datetime": ["2026-01-02T03:04:05Z", "x"],
    "date": ["2026-01-02", "2026-13-02", "2026-1-2", "", "2024-02-29", "2023-02-29"],
    "duration": ["1h", "1h30m", "22 ns", "x", "1", "0", "-1h", "1.5h", "2 days", "3 weeks", "1 foo", ".5s", "1h x"],
    "byte": ["YQ==", "YQ", "", "a b", "YWJj", "_-__"],
    "uuid": ["123e4567-e89b-12d3-a456-426614174000", "123E4567E89B12D3A456426614174000", "123"],
    "uuid3": ["123e4567-e89b-32d3-a456-426614174000", "123e4567-e89b-12d3-a456-426614174000"],
    "uuid4": ["123e4567-e89b-42d3-a456-426614174000", "123e4567-e89b-42d3-c456-426614174000"],
    "uuid5": ["123e4567-e89b-52d3-b456-426614174000", "123e4567-e89b-42d3-b456-426614174000"],
    "ipv4": ["10.0.0.1", "10.0.0.01", "10.0.0", "256.0.0.1", "::1", "::ffff:1.2.3.4", "1.2.3.4 "],
    "ipv6": ["::1", "fe80::1%eth0", "1::2::3", "10.0.0.1", "2001:DB8::1", "::ffff:1.2.3.4"],
    "cidr": ["10.0.0.0/8", "10.0.0.1/33", "10.0.0.0", "::/0", "fe80::/129", "010.0.0.0/08"],
    "mac": ["01:23:45:67:89:ab", "01-23-45-67-89-ab", "0123.4567.89ab", "01:23", "01:23:45:67:89:ab:cd:ef", "x"],
    "uri": [
        "http://x",
        "/path",
        "x",
        "",
        "http://x y",
        "mailto:a@b",
        "//host/p",
        "http://[::1]:80/",
        "http://h:port/",
        "urn:x:y",
        "*",
        "http://x/%zz",
        "http://x?q=%zz",
        "?q",
        "#f",
        "http://x/#f",
        "a/b:c",
        "1http://x",
    ],
    "email": ["a@b", "a", "Name <a@b.c>", "a@", "@b", "a b@c", "a@b.c, d@e.f", "a@[1.2.3.4]", '"q u"@x.y'],
    "hostname": ["example.com", "a_b.c", "-a.com", "a", "a.b", "x.y1", "ex ample.com", "EXAMPLE.com", "1.2.3.4", ""],
    "hexcolor": ["#fff", "fff", "#ffff", "#12aBcD"],
    "rgbcolor": ["rgb(1,2,3)", "rgb(256,0,0)", "rgb( 1 , 2 , 3 )", "1,2,3"],
    "isbn": ["0321751043", "978-0321751041", "0321751044", "x"],
    "isbn10": ["0321751043", "978-0321751041", "0-321-75104-3"],
    "isbn13": ["978-0321751041", "0321751043"],
    "creditcard": ["4111 1111 1111 1111", "4111111111111112", "x"],
    "ssn": ["111-22-3333", "111223333", "111 22 3333", "x"],
    "password": ["x", ""],
    "bsonobjectid": ["507f1f77bcf86cd799439011", "507f"],
    "k8s-short-name": ["a-b", "A", "-a", "a.b", "a" * 64],
    "k8s-long-name": ["a.b", "A.b", "a..b", "a" * 63, "a.b-"],
    "unheard-of": ["anything"],
    "int32": ["text"],
}

# name -> the schema of spec.x that a server refuses, or takes
SCHEMAS: dict[str, dict[str, Any]] = {
    "no type": {},
    "null type": {"type": "null"},
    "unknown type": {"type": "map"},
    "array without items": {"type": "array"},
    "items without type": {"type": "array", "items": {}},
    "items as a list": {"type": "array", "items": [STR]},
    "property without type": {"type": "object", "properties": {"a": {}}},
    "additional without type": {"type": "object", "additionalProperties": {}},
    "additional and properties": {"type": "object", "properties": {"a": STR}, "additionalProperties": STR},
    "additional false": {"type": "object", "properties": {"a": STR}, "additionalProperties": False},
    "additional true and properties": {"type": "object", "properties": {"a": STR}, "additionalProperties": True},
    "unique items": {"type": "array", "items": STR, "uniqueItems": True},
    "reference": {"$ref": "#/definitions/x"},
    "identifier": {"type": "string", "id": "x"},
    "definitions": {"type": "object", "definitions": {"a": STR}},
    "dependencies": {"type": "object", "dependencies": {"a": ["b"]}},
    "pattern properties": {"type": "object", "patternProperties": {"a": STR}},
    "additional items": {"type": "array", "items": STR, "additionalItems": False},
    "bad pattern": {"type": "string", "pattern": "["},
    "look-ahead": {"type": "string", "pattern": "^(?=a)"},
    "open group": {"type": "string", "pattern": "(a"},
    "bad repetition": {"type": "string", "pattern": "*a"},
    "double repetition": {"type": "string", "pattern": "a**"},
    "back-reference": {"type": "string", "pattern": r"(a)\1"},
    "nested type": {**PAIR, "anyOf": [{"type": "object"}]},
    "nested default": {**PAIR, "allOf": [{"properties": {"a": {"default": "x"}}}]},
    "nested everything": {
        **PAIR,
        "oneOf": [
            {
                "title": "t",
                "description": "d",
                "nullable": True,
                "x-kubernetes-preserve-unknown-fields": True,
                "x-kubernetes-embedded-resource": True,
                "x-kubernetes-int-or-string": True,
                "x-kubernetes-list-type": "set",
                "x-kubernetes-map-type": "atomic",
                "additionalProperties": True,
                "x-kubernetes-list-map-keys": ["a"],
            }
        ],
    },
    "incomplete property": {**PAIR, "anyOf": [{"properties": {"z": {"minLength": 1}}}]},
    "incomplete items": {"type": "object", "not": {"items": {"minLength": 1}}},
    "nested metadata": {"type": "object", "properties": {"metadata": OBJ}, "not": {"properties": {"metadata": {}}}},
    "int-or-string": _int_or_string(),
    "int-or-string, typed": _int_or_string(type="integer"),
    "int-or-string, any of": _int_or_string(anyOf=[{"type": "integer"}, {"type": "string"}]),
    "int-or-string, other any of": _int_or_string(anyOf=[{"type": "string"}, {"type": "integer"}]),
    "int-or-string, all of": _int_or_string(allOf=[{"anyOf": [{"type": "integer"}, {"type": "string"}]}]),
    "int-or-string and preserve": _int_or_string(**{"x-kubernetes-preserve-unknown-fields": True}),
    "int-or-string and embedded": _int_or_string(type="object", **{"x-kubernetes-embedded-resource": True}),
    "preserve false": {"type": "object", "x-kubernetes-preserve-unknown-fields": False},
    "embedded without type": {"x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
    "embedded string": {"type": "string", "x-kubernetes-embedded-resource": True},
    "embedded, empty": {"type": "object", "x-kubernetes-embedded-resource": True},
    "embedded, map": {"type": "object", "x-kubernetes-embedded-resource": True, "additionalProperties": STR},
    "embedded, kind of int": {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "properties": {"kind": INT, "metadata": STR},
    },
    "embedded in metadata": {
        "type": "object",
        "x-kubernetes-embedded-resource": True,
        "properties": {
            "metadata": {
                "type": "object",
                "properties": {
                    "x": {
                        "type": "object",
                        "x-kubernetes-embedded-resource": True,
                        "x-kubernetes-preserve-unknown-fields": True,
                    },
                },
            },
        },
    },
    "list type on a string": {"type": "string", "x-kubernetes-list-type": "set"},
    "unknown list type": {"type": "array", "items": STR, "x-kubernetes-list-type": "bag"},
    "unknown map type": {"type": "object", "x-kubernetes-map-type": "bag"},
    "map type on a list": {"type": "array", "items": STR, "x-kubernetes-map-type": "atomic"},
    "set of objects": {"type": "array", "items": PAIR, "x-kubernetes-list-type": "set"},
    "set of atomic objects": {
        "type": "array",
        "items": {**PAIR, "x-kubernetes-map-type": "atomic"},
        "x-kubernetes-list-type": "set",
    },
    "set of sets": {
        "type": "array",
        "x-kubernetes-list-type": "set",
        "items": {"type": "array", "items": STR, "x-kubernetes-list-type": "set"},
    },
    "set of nullable": {"type": "array", "items": {**STR, "nullable": True}, "x-kubernetes-list-type": "set"},
    "keys without map": {"type": "array", "items": KEYED, "x-kubernetes-list-map-keys": ["k"]},
    "keys of a set": {
        "type": "array",
        "items": STR,
        "x-kubernetes-list-type": "set",
        "x-kubernetes-list-map-keys": ["k"],
    },
    "map without keys": {"type": "array", "items": KEYED, "x-kubernetes-list-type": "map"},
    "map of strings": {
        "type": "array",
        "items": STR,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"],
    },
    "map with unknown key": {
        "type": "array",
        "items": KEYED,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["z"],
    },
    "map with a key twice": {
        "type": "array",
        "items": KEYED,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k", "k"],
    },
    "map with optional key": {
        "type": "array",
        "items": PAIR,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["a"],
    },
    "map with nullable key": {
        "type": "array",
        "items": {"type": "object", "required": ["k"], "properties": {"k": {**STR, "nullable": True}}},
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"],
    },
    "map with key of objects": {
        "type": "array",
        "items": {"type": "object", "required": ["k"], "properties": {"k": OBJ}},
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"],
    },
    "default of wrong type": {"type": "string", "default": 5},
    "default out of bounds": {"type": "integer", "minimum": 5, "default": 3},
    "default with unknown field": {**PAIR, "default": {"a": "x", "z": 1}},
    "default in default": {"type": "object", "default": {}, "properties": {"a": {**STR, "default": "x"}}},
    "default breaks required": {"type": "object", "required": ["a"], "properties": {"a": STR}, "default": {}},
    "default in items": {"type": "array", "items": {**PAIR, "default": {"n": "x"}}},
    "rule without text": {"type": "string", "x-kubernetes-validations": [{"rule": " "}]},
    "rule with a blank message": {"type": "string", "x-kubernetes-validations": [{"rule": "true", "message": " "}]},
    "rule with lines in its message": {
        "type": "string",
        "x-kubernetes-validations": [{"rule": "true", "message": "a\nb"}],
    },
    "rule of lines without message": {"type": "string", "x-kubernetes-validations": [{"rule": "true ||\nfalse"}]},
    "rule with unknown reason": {
        "type": "string",
        "x-kubernetes-validations": [{"rule": "true", "message": "m", "reason": "Because"}],
    },
    "rule below a junctor": {**STR, "allOf": [{"x-kubernetes-validations": [{"rule": "true"}]}]},
    "rule with a bad path": {
        **PAIR,
        "x-kubernetes-validations": [{"rule": "true", "fieldPath": ".zz"}],
    },
}

# name -> the whole openAPIV3Schema
ROOTS: dict[str, dict[str, Any]] = {
    "not an object": {"type": "string"},
    "no type": {"properties": {"spec": OBJ}},
    "additional": {"type": "object", "additionalProperties": STR},
    "nullable": {"type": "object", "nullable": True},
    "metadata is restricted": {
        "type": "object",
        "properties": {"metadata": {"type": "object", "properties": {"labels": OBJ}}},
    },
    "metadata is described": {"type": "object", "properties": {"metadata": {"type": "object", "description": "x"}}},
    "metadata names": {
        "type": "object",
        "properties": {"metadata": {"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}}},
    },
    "metadata is a string": {"type": "object", "properties": {"metadata": STR}},
    "kind is a number": {"type": "object", "properties": {"kind": INT, "apiVersion": INT}},
    "default for metadata": {
        "type": "object",
        "properties": {"metadata": {"type": "object", "default": {"name": "x"}}},
    },
    "default for kind": {"type": "object", "properties": {"kind": {"type": "string", "default": "X"}}},
    "default at the root": {"type": "object", "default": {"spec": {}}, "properties": {"spec": OBJ}},
}

# (field, old value, new value): what an update may leave as it was
UPDATES: list[tuple[str, Any, Any]] = [
    ("minimum", 2, 2),
    ("minimum", 2, 1),
    ("object", {"a": 1}, {"a": 1, "b": "x"}),
    ("object", {"a": 1}, {"a": 2}),
    ("array", ["x"], ["x"]),
    ("array", ["x"], ["x", 1]),
    ("map", [{"k": "a", "v": 0}], [{"k": "b"}, {"k": "a", "v": 0}]),
    ("map", [{"k": "a", "v": 0}], [{"k": "a", "v": -1}]),
    ("map", [{"k": "a", "v": 0}, {"k": "b", "v": 1}], [{"k": "b", "v": 1}, {"k": "a", "v": 0}]),
    ("required", {"a": "x"}, {"a": "x"}),
    ("required", {"a": "x"}, {"a": "y"}),
    ("additional", {"a": "x"}, {"a": "x", "b": "y"}),
    ("preserveObject", {"z": 1, "a": 5}, {"z": 1, "a": 5}),
    ("anyOf", {}, {}),
    ("anyOfBest", {"a": "y", "n": 1}, {"a": "y", "n": 1, "b": "z"}),
    ("allOf", "bc", "bc"),
    ("set", ["a", "a"], ["a", "a"]),
    ("set", ["a", "a"], ["a", "a", "b"]),
    ("set", ["a"], ["a", "a"]),
    ("nullable", 1, 1),
]

# (schema of spec.x, spec): what the server makes of it before it stores it
DEFAULTS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "integer", "default": 3}, {}),
    ({"type": "integer", "default": 3}, {"x": None}),
    ({"type": "integer", "default": 3}, {"x": 5}),
    ({"type": "integer", "default": 3, "nullable": True}, {"x": None}),
    ({"type": "integer"}, {"x": None}),
    ({"type": "integer", "nullable": True}, {"x": None}),
    ({"type": "array", "items": {"type": "integer", "default": 3}}, {"x": [None, 1]}),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, {"x": {"a": None}}),
    ({"type": "object", "additionalProperties": {"type": "integer", "nullable": True}}, {"x": {"a": None}}),
    ({"type": "object", "default": {}, "properties": {"a": {"type": "integer", "default": 3}}}, {}),
    ({"type": "object", "properties": {"a": {"type": "integer", "default": 3}}}, {}),
    ({"type": "object", "properties": {"a": {"type": "integer", "default": 3}}}, {"x": {"z": 1}}),
    ({"x-kubernetes-preserve-unknown-fields": True}, {"x": {"a": None}}),
    ({**PAIR, "x-kubernetes-preserve-unknown-fields": True}, {"x": {"z": {"y": None}, "a": None}}),
    ({"type": "array", "items": PAIR}, {"x": [{"a": "b", "z": 1}, {}]}),
    ({"type": "object", "additionalProperties": PAIR}, {"x": {"k": {"z": 1}}}),
    ({"type": "object"}, {"x": {"z": {"y": [1]}}, "unknown": 1}),
    (
        {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": PAIR}},
        {"x": {"apiVersion": "v1", "kind": "A", "metadata": {"name": "n"}, "spec": {"z": 1}, "status": {}}},
    ),
    (
        {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {"a": {"type": "object", "properties": {"b": INT}}},
        },
        {"x": {"a": {"b": 1, "z": 2}, "y": {"z": 3}}},
    ),
]
