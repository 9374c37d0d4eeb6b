"""What servers and networks may do to a stream: whatever it is, the stream ends once and by itself."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.providers.contracts import LLMResponse
from llmgine.providers.errors import ErrorKind, ProviderError
from llmgine.providers.events import Done, Failed, StreamEvent, TextDelta, to_wire
from llmgine.providers.frames import MalformedStream
from tests.providers.codecs.recorded.exchanges import STREAMS, Exchange, each
from tests.providers.codecs.wires import CASES, TARGET, Case, cut, each_case

places = st.lists(st.integers(0, 100_000), max_size=12)
# Without "<", for some servers' reasoning comes between tags at the start of the text.
texts = st.lists(st.text(st.characters(exclude_characters="<", codec="utf-8")), max_size=8)
KEPT_BYTES = 256 * 1024
KEPT_FIELDS = 64
ODD = (b"\n", b"\r\n", b"\0", b"{", b'"', b"data: ")
FORM = [b"data: ", b"event: error\n", b"{", b"}", b'"', b"\n", b"\r", b"[DONE]", b":", b"1", b"null", b"[]"]


def check_end(events: list[StreamEvent]) -> None:
    """Exactly one end, and it is the last event; all of them can travel."""
    assert [isinstance(event, Done | Failed) for event in events].count(True) == 1
    assert isinstance(events[-1], Done | Failed)
    for event in events:
        to_wire(event)


def said(events: list[StreamEvent]) -> str:
    """What the events say. An error's text quotes the bytes of its frame, so it takes part too."""
    return repr([to_wire(event) for event in events])


def damaged(data: bytes, seed: int) -> bytes:
    """The data with some stretches of it lost, doubled, overwritten or moved."""
    chance = random.Random(seed)
    for _ in range(chance.randint(1, 4)):
        begin = chance.randrange(len(data) + 1)
        end = min(len(data), begin + chance.choice((1, 2, 8, 64, 512)))
        piece = data[begin:end]
        match chance.randrange(5):
            case 0:
                data = data[:begin] + data[end:]
            case 1:
                data = data[:end] + piece + data[end:]
            case 2:
                data = data[:begin] + chance.randbytes(len(piece)) + data[end:]
            case 3:
                data = (
                    data[:begin]
                    + chance.choice((b"\n", b"\r\n", b"\0", b"{", b'"', b"data: "))
                    + data[begin:]
                )
            case _:
                data = data[:begin] + data[end:] + piece
    return data


@each_case
@given(data=st.binary(max_size=300), where=places)
def test_any_bytes_end_once_wherever_they_are_cut(case: Case, data: bytes, where: list[int]) -> None:
    """Bytes that are no stream at all end as a failure, the same one however they came."""
    events = case.play(*cut(data, where))
    check_end(events)
    assert said(events) == said(case.play(data))


@each_case
@given(
    data=st.lists(
        st.sampled_from(["data: ", "event: error\n", "{", "}", '"', "\n", "\r", "[DONE]", ":", "1"])
    )
)
def test_any_lines_end_once(case: Case, data: list[str]) -> None:
    """Pieces of the form of a stream in any order end it once."""
    check_end(case.play("".join(data).encode()))


@each_case
@given(seed=st.integers(0, 2**32), where=places)
def test_a_damaged_stream_ends_once(case: Case, seed: int, where: list[int]) -> None:
    """Bytes lost, doubled, overwritten or moved: the events are those of the bytes, not of the cuts."""
    data = damaged(case.wire(), seed)
    events = case.play(*cut(data, where))
    check_end(events)
    assert said(events) == said(case.play(data))


@each_case
@given(order=st.permutations(range(24)), dropped=st.sets(st.integers(0, 23)))
def test_frames_in_any_order_end_once(case: Case, order: list[int], dropped: set[int]) -> None:
    """Well-formed frames out of order, or without some of them, are an answer or a failure."""
    frames = [case.frames[at] for at in order if at < len(case.frames) and at not in dropped]
    check_end(case.play(case.wire(frames)))


@each_case
@given(
    texts=st.lists(st.text(st.characters(exclude_characters="<", codec="utf-8")), max_size=8), where=places
)
def test_no_character_is_lost(case: Case, texts: list[str], where: list[int]) -> None:
    """Any text comes out as it went in, in deltas and in the answer, wherever the network cut it."""
    events = case.play(*cut(case.wire(case.text(texts)), where))
    done = events[-1]
    assert isinstance(done, Done)
    assert done.response.text == "".join(texts)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "".join(texts)


def answered(case: Case, odd: list[dict[str, Any]]) -> LLMResponse:
    """The answer of a stream that begins with these frames."""
    decoder = case.codec().decoder(TARGET)
    for frame in odd:
        assert decoder.feed("novelty", json.dumps(frame).encode()) == []
    events = [event for payload in case.payloads() for event in decoder.feed(*payload)] + decoder.end()
    assert isinstance(events[-1], Done)
    return events[-1].response


@pytest.mark.parametrize(
    "case", [case for case in CASES if case.name != "gemini"], ids=lambda case: case.name
)
def test_frames_that_nobody_knows_are_kept_within_bounds(case: Case) -> None:
    """Frames of an unknown kind are kept until there are too many of them, then counted."""
    odd = [{"type": "novelty", "object": "novelty", "filling": "x" * 1000, "number": n} for n in range(1000)]
    data = answered(case, odd).provider_data
    kept = data["unknown_events"]
    assert kept[0] == {"event": "novelty", "data": odd[0]}
    assert len(json.dumps(kept)) < KEPT_BYTES * 1.2
    assert len(kept) + data["unknown_events_dropped"] == len(odd)


def test_fields_that_nobody_knows_are_kept_within_bounds() -> None:
    """Gemini's frames have no kinds: their unknown fields are kept, so many of them."""
    (gemini,) = (case for case in CASES if case.name == "gemini")
    data = answered(gemini, [{f"novelty{number}": "x"} for number in range(1000)]).provider_data
    assert data["novelty0"] == "x"
    assert len(data) <= KEPT_FIELDS


@each_case
def test_a_stream_that_never_ends_is_read_in_linear_time(case: Case) -> None:
    """Each frame gives its own delta and nothing else, the last like the first."""
    frames = case.payloads(case.text(["word "] * 5_000))
    decoder = case.codec().decoder(TARGET)
    counts = [len(decoder.feed(event, data)) for event, data in frames]
    deltas = counts[2:4_900]
    assert set(deltas) == {1}


SAMPLES = [one for one in STREAMS if len(one.body) < 12_000][::2]


@each(SAMPLES)
def test_a_damaged_recording_ends_once(exchange: Exchange) -> None:
    """So it is with the real answers of providers."""
    chance = random.Random(exchange.name)
    for _ in range(20):
        data = damaged(exchange.body.encode(), chance.randrange(2**32))
        check_end(survived(exchange, cut(data, [chance.randrange(len(data) + 1) for _ in range(5)])))


def survived(exchange: Exchange, pieces: list[bytes]) -> list[StreamEvent]:
    """The events as an exchange has them, to which a body that cannot be split is a failure too."""
    splitter, decoder = exchange.splitter, exchange.codec.decoder(exchange.target)
    events: list[StreamEvent] = []
    try:
        for piece in pieces:
            for frame in splitter.feed(piece):
                events += decoder.feed(*frame)
        splitter.end()
    except MalformedStream as error:
        return events + decoder.fail(ProviderError(str(error), kind=ErrorKind.MALFORMED))
    return events + decoder.end()


def test_all_wires_are_here() -> None:
    """A protocol without a case would be tested by nobody."""
    assert {case.codec().api for case in CASES} == {
        "openai-chat",
        "openai-responses",
        "anthropic-messages",
        "gemini",
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_texts_of_a_case_are_an_answer(case: Case) -> None:
    """What the other tests build on."""
    done = case.play(case.wire(case.text(["a", "b"])))[-1]
    assert isinstance(done, Done)
    assert done.response.text == "ab"
