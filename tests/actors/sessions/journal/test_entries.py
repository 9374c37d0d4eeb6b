"""Records as they are kept, in this version and in others."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmgine.actors.sessions.journal.entries import Unreadable, read_entry, write_entry
from llmgine.actors.sessions.journal.records import TurnEnded, TurnQueued
from llmgine.actors.sessions.turns.limits import Limits
from llmgine.actors.sessions.turns.turn import TurnRequest
from llmgine.providers.contracts import ImagePart, Message, OutputSchema

LIMITED = TurnQueued(TurnRequest("s1:1", Message.user("hi"), limits=Limits(steps=3)), 1, 2)


def test_a_request_is_kept_whole() -> None:
    """Every field of a request comes back, media and all."""
    request = TurnRequest(
        "s1:1",
        Message.user("look", ImagePart(data=bytes(range(256)) * 20)),
        model="scripted/other",
        deadline=1.5,
        output=OutputSchema(json_schema={"type": "object"}),
        options={"temperature": 0.5, "stop": ["x"]},
        limits=Limits(steps=3),
        when_busy="refuse",
        waiting=("s0",),
        recovery="ask",
    )
    entry = write_entry(TurnQueued(request, 1, 2), 1024)
    assert len(entry.body) < 1500
    assert read_entry(entry.body, entry.blobs) == TurnQueued(request, 1, 2)


def test_content_that_looks_like_a_blob() -> None:
    """Nothing that a user says is taken for what is kept beside an entry."""
    prompt = Message.user('{"blobs": [[["turn_id"], "0"]]}')
    queued = TurnQueued(TurnRequest("s1:1", prompt, options={"blobs": [[["v"], "x"]]}), 1, 2)
    entry = write_entry(queued, 1024)
    assert read_entry(entry.body, {}) == queued


def test_an_older_version_is_brought_up() -> None:
    """An entry of an earlier version is read through one upcaster for each version in between."""
    old = b'{"v":-1,"kind":"turn_ended","turn":"s1:1","well":true}'

    def renamed(fields: dict[str, Any]) -> dict[str, Any]:
        return {"turn_id": fields["turn"], "well": fields["well"]}

    def told(fields: dict[str, Any]) -> dict[str, Any]:
        return {"turn_id": fields["turn_id"], "outcome": "done" if fields["well"] else "failed"}

    upcasters = {("turn_ended", -1): renamed, ("turn_ended", 0): told}
    assert read_entry(old, {}, upcasters) == TurnEnded("s1:1", "done")
    with pytest.raises(Unreadable, match="turn_ended"):
        read_entry(old, {}, {("turn_ended", -1): renamed})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (write_entry(LIMITED, 1024).body.replace(b'"steps":3', b'"steps":0'), "damaged.*steps"),
        (b"\x00", "no entry"),
        (b"[]", "no entry"),
        (b'{"kind":"turn_ended"}', "no entry"),
        (b'{"v":9,"kind":"turn_ended","turn_id":"t","outcome":"done"}', "version 9"),
        (b'{"v":1,"kind":"turn_ended","turn_id":"t","outcome":"secret"}', "outcome"),
        (b'{"v":1,"kind":"turn_ended","turn_id":"t","outcome":"done","blobs":[[["x","y"],"h"]]}', "damaged"),
    ],
)
def test_what_cannot_be_read(body: bytes, said: str) -> None:
    """What is no entry of a known version is refused with the reason, without what it held."""
    with pytest.raises(Unreadable, match=said) as caught:
        read_entry(body, {})
    assert "secret" not in str(caught.value)


def test_an_entry_says_its_kind_and_version() -> None:
    """An entry is plain JSON that others can read."""
    body = json.loads(write_entry(TurnEnded("s1:1", "failed"), 1024).body)
    assert body == {"v": 1, "kind": "turn_ended", "turn_id": "s1:1", "outcome": "failed"}
