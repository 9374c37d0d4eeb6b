"""The file of a recording, as others wrote them and as we do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmgine.providers.errors import ErrorKind, ErrorPhase
from llmgine.providers.recording import Interaction, read_recording

FOREIGN = {
    "source": "somebody's tests",
    "interactions": [
        {
            "method": "POST",
            "url": "https://api.example.com/v1/messages",
            "request": {"model": "m"},
            "status": 200,
            "headers": {"Content-Type": "application/json"},
            "body": "{}",
        }
    ],
}


def interaction(**fields: object) -> Interaction:
    known = {"url": "http://a/b", "request": {"x": 1}, "status": 200, "headers": {}, "body": b"abcdef"}
    return Interaction(**{**known, **fields})  # type: ignore[arg-type]


def test_what_others_recorded_is_read(tmp_path: Path) -> None:
    """A file with the bare fields is a recording; its body comes in one piece."""
    path = tmp_path / "one.json"
    path.write_text(json.dumps(FOREIGN))
    (found,) = read_recording(path)
    assert (found.status, found.headers, found.pieces()) == (
        200,
        {"content-type": "application/json"},
        [b"{}"],
    )
    assert found.failure() is None


@pytest.mark.parametrize("body", ["Grüße".encode(), b"\xff\x00\xfe", b""])
def test_what_is_written_is_read_again(body: bytes) -> None:
    """Text or not, a body comes back byte for byte, and with it every other field."""
    one = interaction(body=body, chunks=((0.5, 2),), time=3.5, provider="p", session="s", error=None)
    assert Interaction.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_pieces_are_as_they_came() -> None:
    """The body is split where it was; what no chunk accounts for comes last."""
    assert interaction(chunks=((0.0, 1), (0.1, 3))).pieces() == [b"a", b"bcd", b"ef"]
    assert interaction(chunks=((0.0, 6),)).pieces() == [b"abcdef"]


def test_a_failure_comes_back_as_it_was() -> None:
    """What broke the connection breaks it again, as does who left; a server's own word is in its bytes."""
    error = interaction(error={"kind": "timeout", "phase": "mid_stream", "message": "late"}).failure()
    assert error is not None
    assert (error.kind, error.phase, error.message) == (ErrorKind.TIMEOUT, ErrorPhase.MID_STREAM, "late")
    left = interaction(error={"kind": "cancelled", "phase": "mid_stream", "message": ""}).failure()
    assert left is not None
    assert left.kind is ErrorKind.CONNECTION
    told = {"kind": "overloaded", "phase": "mid_stream", "message": "", "status": 200}
    assert interaction(error=told).failure() is None


def test_what_is_no_recording(tmp_path: Path) -> None:
    """JSON of another shape holds no interactions; what is no JSON is an error that names the file."""
    (tmp_path / "index.json").write_text("[1, 2]")
    assert read_recording(tmp_path / "index.json") == []
    (tmp_path / "cut.json").write_text('{"interac')
    with pytest.raises(ValueError, match=r"cut\.json"):
        read_recording(tmp_path / "cut.json")
