from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.providers.frames import JsonArraySplitter, MalformedStream, WholeFrames

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.lists(st.dictionaries(st.text(), JSON, max_size=4), max_size=5)


def split(*chunks: bytes, limit: int = 1 << 20) -> list[Any]:
    splitter = JsonArraySplitter(limit)
    return [json.loads(data) for chunk in chunks for _, data in splitter.feed(chunk)]


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:stop] for start, stop in itertools.pairwise(edges)]


@pytest.mark.parametrize(
    ("body", "objects"),
    [
        (b"[]", []),
        (b" [ ] ", []),
        (b'[{"a":1}]', [{"a": 1}]),
        (b'[{"a":1}\n,\r\n{"b":2}]\n', [{"a": 1}, {"b": 2}]),
        (b'[{"a":"]}"},{"b":"\\"}{"}]', [{"a": "]}"}, {"b": '"}{'}]),
        (b'[{"a":"\\\\"},{"b":"\\u007d"}]', [{"a": "\\"}, {"b": "}"}]),
        (b'[{"a":[{"b":[]},{}]}]', [{"a": [{"b": []}, {}]}]),
        (b'{"a":{"b":1}}', [{"a": {"b": 1}}]),
        (b'\xef\xbb\xbf[{"a":1}]', [{"a": 1}]),
        (b'[{"a":1},{"b":', [{"a": 1}]),
        (b"", []),
    ],
)
def test_a_body_gives_its_objects(body: bytes, objects: list[Any]) -> None:
    """Strings, escapes, nesting and white space are read as JSON has them; a bare object is one too."""
    assert split(body) == objects
    assert split(*(body[at : at + 1] for at in range(len(body)))) == objects


@given(OBJECTS, st.lists(st.integers(0, 5000), max_size=12), st.sampled_from([None, 2]), st.booleans())
def test_it_matters_not_how_the_body_is_cut(
    objects: list[Any], places: list[int], indent: int | None, escaped: bool
) -> None:
    """Any cuts, within characters and escapes too, give the same objects."""
    body = json.dumps(objects, indent=indent, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    splitter = JsonArraySplitter()
    frames = [frame for chunk in cut(body, places) for frame in splitter.feed(chunk)]
    assert [(name, json.loads(data.decode("utf-8", "surrogatepass"))) for name, data in frames] == [
        ("", each) for each in objects
    ]
    assert not splitter.end()


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_no_bytes_break_it(body: bytes, places: list[int]) -> None:
    """Whatever comes, it gives frames or says that the stream is malformed, alike for all cuts."""

    def outcome(chunks: list[bytes]) -> tuple[list[bytes], bool | None]:
        splitter, frames = JsonArraySplitter(), list[bytes]()
        try:
            for chunk in chunks:
                frames += [data for _, data in splitter.feed(chunk)]
            return frames, splitter.end()
        except MalformedStream:
            return frames, None

    if not body.startswith(b"\xef"):
        assert outcome([body]) == outcome(cut(body, places))


@pytest.mark.parametrize(
    "body", [b"[1]", b'["a"]', b"[[]]", b"data: {}", b"<html>", b"[]]", b'[{"a":1}] {"b":2}', b"}"]
)
def test_anything_else_is_malformed(body: bytes) -> None:
    """What is no array of objects is refused, and stays refused."""
    splitter = JsonArraySplitter()
    with pytest.raises(MalformedStream):  # objects before the fault are given out first
        list(map(splitter.feed, (body, b"")))
    with pytest.raises(MalformedStream):
        splitter.feed(b"[]")
    with pytest.raises(MalformedStream):
        splitter.end()


def test_objects_before_a_fault_are_given_out() -> None:
    """What came whole counts, though what follows is no JSON."""
    splitter = JsonArraySplitter()
    assert splitter.feed(b'[{"a":1}, oops') == [("", b'{"a":1}')]
    with pytest.raises(MalformedStream, match="oops"):
        splitter.feed(b"")


@pytest.mark.parametrize("whole", [True, False])
def test_memory_is_bounded(whole: bool) -> None:
    """An object above the limit is refused, whether its end has come or not."""
    splitter = JsonArraySplitter(limit=20)
    assert len(splitter.feed(b'[{"a":1},')) == 1
    with pytest.raises(MalformedStream, match="20 bytes"):
        splitter.feed(b'{"a":"' + b"x" * 40 + (b'"}' if whole else b""))
    with pytest.raises(MalformedStream):
        splitter.end()


def test_an_unfinished_object_is_thrown_away() -> None:
    """The end tells of an object that was cut off, and not of a missing bracket after the last one."""
    splitter = JsonArraySplitter()
    splitter.feed(b'[{"a":"x')
    assert splitter.end()
    splitter = JsonArraySplitter()
    splitter.feed(b'[{"a":1}')
    assert not splitter.end()


def test_whole_frames() -> None:
    """Where the transport has split the body, each piece is a frame."""
    splitter = WholeFrames()
    assert splitter.feed(b"{}") == [("", b"{}")]
    assert not splitter.end()
