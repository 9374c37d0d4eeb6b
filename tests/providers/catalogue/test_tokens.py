"""Counting tokens by a rule of thumb."""

from __future__ import annotations

from typing import Any

import pytest

from llmgine.providers.catalogue.tokens import estimate, of_text
from llmgine.providers.contracts import (
    AnyPart,
    AudioPart,
    DocumentPart,
    EmbeddingRequest,
    ImagePart,
    LLMRequest,
    Message,
    OutputSchema,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    ToolSpec,
    UsageSource,
)

EMPTY = 4  # what a message takes beside its content


def count(*parts: AnyPart, role: Any = "user", **fields: Any) -> int:
    message = Message(role=role, parts=parts)
    tokens = estimate(LLMRequest(model="p/m", messages=(message,), **fields)).input_tokens
    assert tokens is not None
    return tokens - EMPTY


def test_it_is_marked_as_an_estimate() -> None:
    """Nobody can take the figure for a provider's own, and nothing is said of the answer."""
    usage = estimate(LLMRequest(model="p/m", messages=(Message.user("Hello there"),)))
    assert (usage.source, usage.output_tokens) == (UsageSource.ESTIMATED, None)
    assert usage.input_tokens == EMPTY + 3


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("a", 1), ("four", 1), ("fives", 2), ("世界", 2), ("né", 2)]
)
def test_text(text: str, tokens: int) -> None:
    """Four plain characters make a token, and each other character makes one."""
    assert of_text(text) == tokens


@pytest.mark.parametrize(
    ("part", "tokens"),
    [
        (ImagePart(data=b"x" * 9999), 765),
        (ImagePart(url="https://h/i.png", detail="low"), 85),
        (AudioPart(data=b"x" * 160_000), 321),
        (AudioPart(url="https://h/a.wav"), 321),
        (DocumentPart(data=b"x" * 600), 101),
        (DocumentPart(data=b"plain words!", media_type="text/plain"), 3),
        (DocumentPart(url="https://h/d.pdf"), 5000),
    ],
)
def test_media(part: AnyPart, tokens: int) -> None:
    """Images count by how closely they are looked at, sound by its length, documents by their size."""
    assert count(part) == tokens


def test_calls_and_results() -> None:
    """A call counts its name and arguments, a result what it holds."""
    call = ToolCallPart(id="c", name="look", arguments={"q": 1})
    assert count(call, role="assistant") == 8 + of_text('look{"q": 1}')
    result = ToolResultPart(call_id="c", content=(TextPart(text="four"), ImagePart(data=b"x")))
    assert count(result, role="tool") == 4 + 1 + 765


def test_what_goes_along_counts() -> None:
    """The system prompt, tools and the output schema are part of the prompt."""
    plain = count(TextPart(text="hi"))
    tool = ToolSpec(name="look", description="Looks.", parameters={"type": "object"})
    assert count(TextPart(text="hi"), system="four") == plain + 4 + 1
    assert count(TextPart(text="hi"), tools=(tool,)) > plain + 8
    assert count(TextPart(text="hi"), output=OutputSchema(json_schema={"type": "object"})) > plain


def test_texts_to_embed() -> None:
    """The texts alone count, each rounded up."""
    assert estimate(EmbeddingRequest(model="p/m", inputs=("a", "fives"))).input_tokens == 3
