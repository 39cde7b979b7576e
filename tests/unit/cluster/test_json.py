import importlib.util
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operatorkit.cluster import _json

TEXT = st.text('ab"&<>\\/\n\t\x00\x7fé€😀\u2028', max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)


@pytest.fixture(scope="module")
def standard():
    """The module as it is where orjson is not installed."""
    spec = importlib.util.spec_from_file_location("json_without_orjson", _json.__file__)
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get("orjson")
    sys.modules["orjson"] = None
    try:
        spec.loader.exec_module(module)
    finally:
        if before is None:
            del sys.modules["orjson"]
        else:
            sys.modules["orjson"] = before
    return module


@given(value=JSON)
def test_both_ways_of_encoding_give_the_same_bytes_and_read_each_other(standard, value):
    assert standard.dumps(value) == _json.dumps(value)
    assert standard.loads(_json.dumps(value)) == _json.loads(standard.dumps(value)) == value


def test_what_is_not_json_is_a_value_error(standard):
    for module in (standard, _json):
        with pytest.raises(ValueError, match=r"."):
            module.loads(b"{nonsense}")


@given(JSON)
def test_what_is_sent_says_the_same_and_has_what_go_escapes_as_escapes(value):
    sent = _json.dumps_to_send(value)
    assert _json.loads(sent) == value
    assert not set(sent.decode()) & set("&<>\u2028\u2029")


def test_what_is_sent_is_what_go_writes():
    sent = _json.dumps_to_send({"a & b": "<\\&> \u2028\u2029 ü"})
    assert sent == '{"a \\u0026 b":"\\u003c\\\\\\u0026\\u003e \\u2028\\u2029 ü"}'.encode()
