"""Cutting a byte stream into frames."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.actors.link import FrameTooLarge, MalformedFrame, NotSendable
from llmgine.actors.link.frames import PING, PING_BODY, PONG, PONG_BODY, Encoder, Splitter, decode, framed

BODIES = st.lists(st.binary(max_size=300), max_size=20)


def cut(data: bytes, borders: list[int]) -> list[bytes]:
    places = [0, *sorted({border % (len(data) + 1) for border in borders}), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


@given(bodies=BODIES, borders=st.lists(st.integers(min_value=0, max_value=10_000), max_size=40))
def test_any_chunking_gives_the_same_bodies(bodies: list[bytes], borders: list[int]) -> None:
    """The bodies come out whole and in order wherever the chunks are cut."""
    splitter = Splitter(1024)
    out: list[bytes] = []
    for chunk in cut(b"".join(map(framed, bodies)), borders):
        out += splitter.feed(chunk)
    assert out == bodies


@given(bodies=BODIES, borders=st.lists(st.integers(min_value=0, max_value=10_000), max_size=40))
def test_bodies_can_be_taken_one_by_one(bodies: list[bytes], borders: list[int]) -> None:
    """`first` gives one body at a time and holds the rest, so that the limit can change between them."""
    splitter = Splitter(1024)
    out: list[bytes] = []
    for chunk in cut(b"".join(map(framed, bodies)), borders):
        body = splitter.first(chunk)
        while body is not None:
            out.append(body)
            body = splitter.first(b"")
    assert out == bodies


def test_a_raised_limit_holds_for_the_rest_of_the_chunk() -> None:
    """A frame that is too large for the first limit passes when the limit is raised before it is cut."""
    splitter = Splitter(10)
    assert splitter.first(framed(b"hello") + framed(b"x" * 50)) == b"hello"
    splitter.limit = 100
    assert splitter.feed(b"") == [b"x" * 50]


def test_a_frame_is_refused_from_its_length_alone() -> None:
    """Four bytes that announce too much are enough to refuse; nothing is gathered for it."""
    with pytest.raises(FrameTooLarge, match="4294967295"):
        Splitter(1024).feed(b"\xff\xff\xff\xff")


def test_the_largest_frame_passes() -> None:
    """A body of exactly the limit is allowed."""
    assert Splitter(8).feed(framed(b"12345678")) == [b"12345678"]


@given(st.binary(max_size=200))
def test_garbage_is_a_typed_error_or_an_array(body: bytes) -> None:
    """Whatever the bytes, decoding gives a list or MalformedFrame."""
    try:
        assert isinstance(decode(body), list)
    except MalformedFrame:
        pass


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x92\x01",
        b"\x01",
        b"\x81\x01\x02",
        b"\x90\x90",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 5000,
    ],
)
def test_what_is_not_one_array_is_malformed(body: bytes) -> None:
    """Empty, cut, trailing, too deep or non-array bodies are MalformedFrame."""
    with pytest.raises(MalformedFrame):
        decode(body)


def test_an_encoder_survives_what_it_refuses() -> None:
    """After a refused value the next one is encoded as if nothing had been."""
    encode = Encoder(100)
    with pytest.raises(NotSendable, match="msgpack"):
        encode([1, "begun", object()])
    with pytest.raises(NotSendable, match="accepts 100"):
        encode(["x" * 100])
    assert decode(encode([1, {"a": b"b"}])) == [1, {"a": b"b"}]


def test_signs_of_life_are_frames() -> None:
    """Ping and pong are cut out like any frame."""
    assert Splitter(16).feed(PING + PONG) == [PING_BODY, PONG_BODY]
