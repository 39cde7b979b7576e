from __future__ import annotations

import pytest

from operatorkit.controlplane.embedded.errors.jsonpath import JSONPath

OBJ = {
    "metadata": {"labels": {"app.kubernetes.io/name": "x", "plain": "y"}},
    "spec": {"list": [{"n": 1, "name": "a"}, {"n": 2, "name": "b"}], "map": {"p": 1, "q": 2}},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.list[0].name", ["a"]),
        ("{.spec.list[-1].name}", ["b"]),
        (".spec.list[*].n", [1, 2]),
        (".spec.list[0:1].n", [1]),
        (".spec.map.*", [1, 2]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type=='Other')].status", ["False"]),
        (".spec.list[?(@.n>1)].name", ["b"]),
        (".spec.list[?(@.name)].n", [1, 2]),
        (r".metadata.labels.app\.kubernetes\.io/name", ["x"]),
        (".metadata.labels['plain']", ["y"]),
        (".spec.missing.deep", []),
        (".spec.list[7]", []),
        (".spec.list.name", []),
    ],
)
def test_a_path_finds_values(path: str, found: list[object]) -> None:
    assert JSONPath(path).find(OBJ) == found


@pytest.mark.parametrize("path", [".spec[", ".spec[?(x)]", ".spec[?(@.a==b)]"])
def test_what_is_no_path_is_rejected(path: str) -> None:
    with pytest.raises(ValueError, match="unrecognized"):
        JSONPath(path)
