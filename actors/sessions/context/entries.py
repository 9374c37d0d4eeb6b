"""What may happen to a conversation, each as an entry that is appended and never altered."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from llmgine.providers.contracts import Contract, Message


class Appended(Contract):
    """A message was added."""

    op: Literal["append"] = "append"
    sequence: int
    message: Message


class RolledBack(Contract):
    """The conversation went back to its first `length` messages."""

    op: Literal["rollback"] = "rollback"
    sequence: int
    length: int


class Noted(Contract):
    """Something was noted at a message, by its number from 0; None takes the note away."""

    op: Literal["note"] = "note"
    sequence: int
    message: int
    key: str
    value: Any = None


class Summary(Contract):
    """What stands for the messages before number `upto` where they are not shown.

    `model` made it, of those messages, and of the summary up to `since` in place of the first ones
    where there was one; 0 where there was none.
    """

    upto: int = Field(ge=1)
    since: int = Field(default=0, ge=0)
    text: str = Field(min_length=1)
    model: str


class Summarised(Contract):
    """A summary was made; the messages stay."""

    op: Literal["summary"] = "summary"
    sequence: int
    summary: Summary


ContextEntry = Annotated[Appended | RolledBack | Noted | Summarised, Field(discriminator="op")]
