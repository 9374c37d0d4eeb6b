"""Words looked up in a conversation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from llmgine.providers.contracts import (
    AnyPart,
    Contract,
    Message,
    RefusalPart,
    Role,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

_BEFORE, _AFTER = 40, 120
_TERM = re.compile(r'"([^"]+)"|(\S+)')


class Found(Contract):
    """A message that has the words: its number from 0, who spoke, and the text around the first word."""

    message: int
    role: Role
    excerpt: str


def search(messages: Iterable[Message], query: str, limit: int) -> tuple[Found, ...]:
    """The newest messages that hold every word of the query, newest first; "words in quotes" as they stand.

    Case does not count. Looked at are texts, thinking, and the names, arguments and results of tools.
    """
    terms = [(quoted or word).casefold() for quoted, word in _TERM.findall(query)]
    if not terms:
        return ()
    found: list[Found] = []
    for number, message in reversed(list(enumerate(messages))):
        if len(found) >= limit:
            break
        text = " ".join(piece for part in message.parts for piece in _texts(part))
        folded = text.casefold()
        if all(term in folded for term in terms):
            found.append(Found(message=number, role=message.role, excerpt=_excerpt(text, folded, terms[0])))
    return tuple(found)


def _texts(part: AnyPart) -> Iterator[str]:
    match part:
        case TextPart(text=text) | ThinkingPart(text=text) | RefusalPart(text=text):
            yield text
        case ToolCallPart(name=name):
            yield f"{name} {part.raw_arguments or json.dumps(part.arguments, ensure_ascii=False)}"
        case ToolResultPart():
            yield part.text


def _excerpt(text: str, folded: str, term: str) -> str:
    """The text around the term; folding may lengthen a text, so the place is near rather than exact."""
    at = folded.index(term)
    begin, end = max(0, at - _BEFORE), at + len(term) + _AFTER
    return f"{'…' if begin else ''}{text[begin:end]}{'…' if end < len(text) else ''}"
