"""The lines of a batch while it is put together."""

from __future__ import annotations

from typing import Any, cast

import pytest

from llmgine.actors.pools.batches.draft import Draft
from llmgine.providers import ErrorKind, LLMRequest, Message, ProviderError
from llmgine.providers.provider import Batches


class Room:
    """Lines are the prompts; a prompt "bad" is refused."""

    most_requests = 3
    most_bytes = 10

    def line(self, custom_id: str, request: LLMRequest) -> bytes:
        text = request.messages[0].text
        if text == "bad":
            raise ProviderError("no", kind=ErrorKind.UNSUPPORTED)
        return text.encode()


def drafted(*prompts: str) -> tuple[list[bytes], int, list[ErrorKind]]:
    draft, refused = Draft(cast("Batches", Room())), []
    for number, prompt in enumerate(prompts):
        try:
            draft.add(str(number), LLMRequest(model="m", messages=(Message.user(prompt),)))
        except ProviderError as error:
            refused.append(error.kind)
    return draft.lines, draft.seen, refused


@pytest.mark.parametrize(
    ("prompts", "held", "seen"),
    [
        (["a", "b"], [b"a", b"b"], 2),
        (["a", "b", "c", "d"], [b"a", b"b", b"c"], 3),
        (["aaaa", "bbbb", "c"], [b"aaaa", b"bbbb"], 2),
        (["aaaa", "bbbbb", "c"], [b"aaaa"], 1),
        (["bad", "a"], [b"a"], 2),
        (["a", "b", "c", "bad"], [b"a", b"b", b"c"], 3),
        (["aaaaaaaaaaaa", "b"], [b"b"], 2),
        ([], [], 0),
    ],
)
def test_a_batch_takes_the_first_that_fit(prompts: list[str], held: list[bytes], seen: int) -> None:
    """Its lines with what parts them stay within its bytes; what comes after the first left out stays out."""
    lines, count, _ = drafted(*prompts)
    assert (lines, count) == (held, seen)


def test_what_no_batch_holds_is_told() -> None:
    """Refused by the protocol, or larger than a batch."""
    refusals: list[Any] = drafted("bad", "a" * 10, "b")[2]
    assert refusals == [ErrorKind.UNSUPPORTED, ErrorKind.INVALID_REQUEST]
