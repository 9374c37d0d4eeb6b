"""Bodies, bounded in bytes and in time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from llmgine.actors.gateway.bodies import BoundedBody
from llmgine.actors.gateway.errors import MalformedRequest, TooLarge, TooSlow


def sent(pieces: Iterable[bytes]) -> Any:
    """A `receive` that gives these pieces, then nothing for ever; and how many were taken."""
    waiting = list(pieces)
    last = len(waiting)

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        receive.taken += 1  # type: ignore[attr-defined]
        more = receive.taken < last  # type: ignore[attr-defined]
        return {"type": "http.request", "body": waiting.pop(0), "more_body": more}

    receive.taken = 0  # type: ignore[attr-defined]
    return receive


async def whole(body: BoundedBody) -> bytes:
    pieces = []
    while True:
        message = await body()
        pieces.append(message["body"])
        if not message["more_body"]:
            return b"".join(pieces)


async def test_a_body_within_its_bounds_comes_whole() -> None:
    """To the last byte that may come."""
    assert await whole(BoundedBody(sent([b"12345", b"67890"]), {}, 10, 1.0)) == b"1234567890"
    assert await whole(BoundedBody(sent([b"12345"]), {"content-length": "5"}, 5, 1.0)) == b"12345"


async def test_a_body_that_says_it_is_too_large_is_refused() -> None:
    """What its sender is still sending is read first, so that the answer is heard."""
    receive = sent([b"12345", b"67890", b"!"])
    with pytest.raises(TooLarge) as refused:
        await whole(BoundedBody(receive, {"content-length": "11"}, 10, 1.0))
    assert "gateway.max_body" in refused.value.hint
    assert receive.taken == 3


async def test_a_body_that_does_not_say_it_is_counted() -> None:
    """A chunked one is refused where it has become too large."""
    with pytest.raises(TooLarge):
        await whole(BoundedBody(sent([b"12345", b"67890", b"!"]), {}, 10, 1.0))


async def test_a_body_without_end_is_not_read_to_its_end() -> None:
    """Four times the bound is thrown away, and no more."""
    receive = sent([b"12345"] * 1000)
    with pytest.raises(TooLarge):
        await whole(BoundedBody(receive, {}, 10, 1.0))
    assert receive.taken == 9


@pytest.mark.parametrize(
    "headers", [{"content-length": "1000"}, {"content-length": "11", "expect": "100-continue"}]
)
async def test_what_was_not_sent_yet_is_not_waited_for(headers: dict[str, str]) -> None:
    """A sender that asks first, or announces far too much, is answered at once."""
    receive = sent([b"12345"])
    with pytest.raises(TooLarge):
        await whole(BoundedBody(receive, headers, 10, 1.0))
    assert receive.taken == 0


async def test_a_body_has_so_much_time_in_all() -> None:
    """However steadily its bytes drip."""
    receive = sent([b"1", b"2"])
    receive_whole = BoundedBody(receive, {"content-length": "3"}, 10, 0.01)

    async def unfinished() -> dict[str, Any]:
        message: dict[str, Any] = await receive()
        return {**message, "more_body": True}

    receive_whole._receive = unfinished
    with pytest.raises(TooSlow):
        await whole(receive_whole)
    assert receive.taken == 2


@pytest.mark.parametrize("length", ["-1", "ten", "1e3", "", "１"])
def test_a_length_that_is_none_is_malformed(length: str) -> None:
    """The server in front refuses most of them itself."""
    with pytest.raises(MalformedRequest):
        BoundedBody(sent([]), {"content-length": length}, 10, 1.0)
