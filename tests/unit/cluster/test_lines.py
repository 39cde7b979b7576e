from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from operatorkit.cluster._lines import LineSplitter


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line)), st.data())
def test_lines_are_the_same_however_the_stream_is_cut(lines, data):
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    edges = [0, *cuts, len(stream)]
    splitter = LineSplitter()
    got = [line for start, end in pairwise(edges) for line in splitter.feed(stream[start:end])]
    assert got == [line for line in lines if line.strip()]
    assert splitter.rest == b""


def test_a_truncated_line_is_kept_back():
    splitter = LineSplitter()
    assert splitter.feed(b'{"a":1}\n{"b":') == [b'{"a":1}']
    assert splitter.rest == b'{"b":'
