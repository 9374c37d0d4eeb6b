"""What is recorded answers again, and only what was asked then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmgine.providers.errors import ErrorKind, ErrorPhase, ProviderError
from llmgine.providers.recording import Interaction
from llmgine.providers.recording.matching import Route
from llmgine.providers.recording.shelf import Shelf

ROUTE = Route("/chat/completions")
URL = "https://h/v1/chat/completions"


def place(file: str, said: bytes, time: float = 0.0, *, url: str | None = URL, **request: Any) -> Any:
    return file, Interaction(url=url, request=request, status=200, headers={}, body=said, time=time)


async def test_equal_requests_are_answered_in_order() -> None:
    """Each gets the next answer by the time of recording; the last one repeats."""
    shelf = Shelf("x", [place("b", b"second", 2.0, model="m"), place("a", b"first", 1.0, model="m")])
    bodies = [(await shelf.take(ROUTE, {"model": "m", "stream": True})).body for _ in range(3)]
    assert bodies == [b"first", b"second", b"second"]


async def test_another_request_is_told_the_nearest() -> None:
    """No answer is made up: the error names the file that comes nearest and where it differs."""
    near = place("near.json", b"", model="m", messages=[{"content": "Hi"}], temperature=1)
    far = place("far.json", b"", model="other", messages=[])
    with pytest.raises(ProviderError) as caught:
        await Shelf("tapes", [far, near]).take(
            ROUTE, {"model": "m", "messages": [{"content": "Ho"}], "temperature": 1}
        )
    error = caught.value
    assert 'near.json; at messages[0].content: "Ho" is asked, "Hi" was recorded' in str(error)
    assert (error.kind, error.phase, error.retryable) == (
        ErrorKind.INVALID_REQUEST,
        ErrorPhase.REQUEST,
        False,
    )
    assert "`replay`" in error.message


async def test_another_route_is_told_what_there_is() -> None:
    """Where nothing of the kind was recorded, the error lists what was; what has no URL answers nothing."""
    shelf = Shelf("tapes", [place("a", b"", model="m"), place("b", b"", url=None)])
    with pytest.raises(ProviderError, match=r"no recording in tapes is of /responses; recorded is /chat"):
        await shelf.take(Route("/responses"), {"model": "m"})


async def test_a_folder_is_read_whole(tmp_path: Path) -> None:
    """Recordings may lie in folders below, beside other JSON; a broken file is named."""
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    interaction = {"url": URL, "request": {"model": "m"}, "status": 200, "body": "yes"}
    (deep / "one.json").write_text(json.dumps({"interactions": [interaction]}))
    (tmp_path / "index.json").write_text("{}")
    assert (await Shelf.read(tmp_path).take(ROUTE, {"model": "m"})).body == b"yes"
    assert (await Shelf.read(deep / "one.json").take(ROUTE, {"model": "m"})).body == b"yes"
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(ProviderError, match=r"broken\.json"):
        Shelf.read(tmp_path)
    with pytest.raises(ProviderError, match="nowhere"):
        Shelf.read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "interaction",
    [1, {"chunks": [[0]]}, {"headers": ["a"]}, {"body": {"an": "object"}}, {"body_base64": "a"}],
)
def test_what_is_no_recording_is_named(tmp_path: Path, interaction: Any) -> None:
    """A file whose interactions are of another shape is named in the error, as one that is no JSON is."""
    (tmp_path / "odd.json").write_text(json.dumps({"interactions": [interaction]}))
    with pytest.raises(ProviderError, match=r"odd\.json is no recording"):
        Shelf.read(tmp_path)
