from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.providers.frames import MalformedStream, SseSplitter

Frames = list[tuple[str, bytes]]


def split(*chunks: bytes, limit: int = 1 << 20) -> Frames:
    splitter = SseSplitter(limit)
    return [frame for chunk in chunks for frame in splitter.feed(chunk)]


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:stop] for start, stop in itertools.pairwise(edges)]


@pytest.mark.parametrize(
    ("body", "frames"),
    [
        (b"data: a\n\n", [("", b"a")]),
        (b"data:a\n\n", [("", b"a")]),
        (b"data:  a\n\n", [("", b" a")]),
        (b"data: a\r\n\r\n", [("", b"a")]),
        (b"data: a\r\rdata: b\r\r", [("", b"a"), ("", b"b")]),
        (b"event: x\ndata: a\n\ndata: b\n\n", [("x", b"a"), ("", b"b")]),
        (b"event:x\r\ndata: a\r\n\r\n", [("x", b"a")]),
        (b"data: a\ndata: b\n\n", [("", b"a\nb")]),
        (b"data\n\n", [("", b"")]),
        (b"data:\ndata\n\n", [("", b"\n")]),
        (b": comment\ndata: a\n: another\n\n", [("", b"a")]),
        (b"id: 7\nretry: 10\ndata: a\n\n", [("", b"a")]),
        (b"event: lonely\n\ndata: a\n\n", [("", b"a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", b"a")]),
        (b" data: a\n\ndata: b\n\n", [("", b"b")]),
        (b"\n\n\n", []),
        (b"data: a", []),
        (b"data: a\n", []),
    ],
)
def test_a_body_gives_the_frames_of_the_standard(body: bytes, frames: Frames) -> None:
    """Line ends, comments, several data lines, byte order mark and unknown fields are read as specified."""
    assert split(body) == frames
    assert split(*(body[at : at + 1] for at in range(len(body)))) == frames


LINES = st.sampled_from(
    [
        b"data: {}",
        'data: {"text": "größe 🦊"}'.encode(),
        b"data:",
        b"data",
        b"event: ping",
        b"event:x",
        b": note",
        b"id: 1",
        b"",
        b"",
        b"",
        b"nonsense",
    ]
)


@given(
    lines=st.lists(st.tuples(LINES, st.sampled_from([b"\n", b"\r\n", b"\r"])), max_size=30),
    places=st.lists(st.integers(0, 10_000), max_size=12),
)
def test_frames_do_not_depend_on_where_the_body_was_cut(
    lines: list[tuple[bytes, bytes]], places: list[int]
) -> None:
    """Any cut, also inside a character or a CRLF, gives the frames of the uncut body."""
    body = b"".join(line + end for line, end in lines)
    assert split(*cut(body, places)) == split(body)


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_no_bytes_make_it_raise(chunks: list[bytes]) -> None:
    """Whatever the bytes are, there are frames or none."""
    assert split(*chunks) == split(b"".join(chunks))


def test_an_unfinished_last_frame_is_thrown_away() -> None:
    """What was cut off at the end is never given out as a frame, and `end` says so."""
    splitter = SseSplitter()
    assert splitter.feed(b'data: {"whole": 1}\n\ndata: {"cut": 1}\n') == [("", b'{"whole": 1}')]
    assert splitter.end() is True
    assert SseSplitter().end() is False


def test_a_frame_above_the_limit_is_an_error_after_those_before_it() -> None:
    """Memory is bounded: good frames are given out first, then every call raises."""
    splitter = SseSplitter(limit=100)
    assert splitter.feed(b"data: good\n\ndata: " + b"x" * 200) == [("", b"good")]
    with pytest.raises(MalformedStream, match="100 bytes"):
        splitter.feed(b"y")
    with pytest.raises(MalformedStream):
        splitter.end()


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 30 + b"\n", b"data\n" * 8, b"x" * 30])
def test_a_frame_that_never_ends_is_an_error(piece: bytes) -> None:
    """Endless lines and endless frames are both stopped."""
    splitter = SseSplitter(limit=1000)
    with pytest.raises(MalformedStream):
        [splitter.feed(chunk) for chunk in [b"data: ", *[piece] * 100]]


def test_a_large_whole_frame_is_an_error() -> None:
    """A frame that comes in one chunk is measured like any other."""
    with pytest.raises(MalformedStream):
        split(b"data: " + b"x" * 200 + b"\n\n", limit=100)


def test_long_event_names_are_not_kept() -> None:
    """A stream of ever new names holds no more memory than its last frame."""
    splitter = SseSplitter()
    tracemalloc.start()
    for number in range(20):
        assert splitter.feed(b"event: %d%s\ndata: x\n\n" % (number, b"x" * 100_000)) != []
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 500_000
