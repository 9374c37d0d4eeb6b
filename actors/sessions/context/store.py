"""The context store: one conversation as ordered messages of ordered parts, always fit to be sent.

Every change is an entry, appended and never altered; the messages are what the entries come to.
A journal keeps entries and a restart applies them again. What holds after each entry:

- a call id is used once in the conversation, and has at most one result, which follows it;
- after an assistant message with calls nothing but their results comes, until all are there;
- no message is empty, and each kind of part stands only where its role may hold it.

Providers refuse conversations that break these rules, so what breaks them is refused here, by
`ContextError`, and leaves the store as it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import TypeAdapter

from llmgine.actors.sessions.errors import ContextError
from llmgine.providers.contracts import (
    AnyPart,
    Contract,
    MediaPart,
    Message,
    OpaquePart,
    RefusalPart,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)

FORMAT = 1

_ALLOWED: dict[str, tuple[Any, ...]] = {
    "system": (TextPart,),
    "user": (TextPart, MediaPart, OpaquePart),
    "assistant": (TextPart, ThinkingPart, ToolCallPart, MediaPart, RefusalPart, OpaquePart),
    "tool": (ToolResultPart,),
}


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


ContextEntry = Appended | RolledBack


class _Snapshot(Contract):
    format: int
    sequence: int
    messages: tuple[Message, ...]


_SNAPSHOT = TypeAdapter(_Snapshot)


class ContextStore:
    """One conversation; `sequence` counts its entries, so a journal knows where it stands."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._messages: list[Message] = []
        self._calls: set[str] = set()
        self._open: dict[str, ToolCallPart] = {}
        self._view: tuple[Message, ...] | None = ()
        self.sequence = 0
        for message in messages:
            self.append(message)

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def open_calls(self) -> tuple[ToolCallPart, ...]:
        """Calls that wait for their result, in order."""
        return tuple(self._open.values())

    def view(self) -> tuple[Message, ...]:
        """The messages; the same object until something changes."""
        if self._view is None:
            self._view = tuple(self._messages)
        return self._view

    def knows_call(self, call_id: str) -> bool:
        """Whether a call of this id is in the conversation."""
        return call_id in self._calls

    def append(self, message: Message) -> Appended:
        """Adds a message; ContextError where it does not fit."""
        self._check(message)
        self._add(message)
        self.sequence += 1
        return Appended(sequence=self.sequence, message=message)

    def repair(self, reason: str) -> Appended | None:
        """Answers every open call with an error result that gives the reason; None where none is open."""
        if not self._open:
            return None
        results = tuple(unanswered(call, reason) for call in self._open.values())
        return self.append(Message(role="tool", parts=results))

    def rollback(self, length: int) -> RolledBack:
        """Takes back all but the first `length` messages; ContextError where that would leave calls open."""
        if not 0 <= length <= len(self._messages):
            raise ContextError(f"the conversation has {len(self._messages)} messages, not {length}")
        kept = ContextStore(self._messages[:length])
        if kept._open:
            raise ContextError(f"a rollback to {length} messages would part calls from their results")
        self._messages, self._calls, self._open = kept._messages, kept._calls, kept._open
        self._view = None
        self.sequence += 1
        return RolledBack(sequence=self.sequence, length=length)

    def apply(self, entry: ContextEntry) -> None:
        """Does what an entry of a journal says; ContextError where it is not the next one."""
        if entry.sequence != self.sequence + 1:
            raise ContextError(f"entry {entry.sequence} does not follow entry {self.sequence}")
        match entry:
            case Appended(message=message):
                self.append(message)
            case RolledBack(length=length):
                self.rollback(length)

    def fork(self) -> ContextStore:
        """An independent copy; open calls are answered in it, because their results arrive here."""
        copy = ContextStore(self._messages)
        copy.repair("the conversation was forked before this call had returned")
        return copy

    def to_json(self) -> bytes:
        """The store as JSON; the same bytes however often it is written and read, in every process."""
        return _SNAPSHOT.dump_json(_Snapshot(format=FORMAT, sequence=self.sequence, messages=self.view()))

    @classmethod
    def from_json(cls, data: bytes) -> ContextStore:
        """The store that `to_json` wrote; ContextError for a format or an order that is not ours."""
        try:
            snapshot = _SNAPSHOT.validate_json(data)
        except ValueError as error:
            raise ContextError(f"no conversation can be read from this: {error}") from None
        if snapshot.format != FORMAT:
            raise ContextError(f"the conversation has format {snapshot.format}; this version reads {FORMAT}")
        store = cls(snapshot.messages)
        store.sequence = snapshot.sequence
        return store

    def _add(self, message: Message) -> None:
        self._messages.append(message)
        self._view = None
        for part in message.parts:
            if isinstance(part, ToolCallPart):
                self._calls.add(part.id)
                self._open[part.id] = part
            elif isinstance(part, ToolResultPart):
                del self._open[part.call_id]

    def _check(self, message: Message) -> None:
        allowed = _ALLOWED[message.role]
        for part in message.parts:
            if not isinstance(part, allowed):
                raise ContextError(f"a {part.type} part cannot stand in a message of role {message.role}")
        if not has_content(message):
            raise ContextError(f"the {message.role} message is empty")
        if message.role == "tool":
            self._check_results(message)
        elif self._open:
            waiting = ", ".join(self._open)
            raise ContextError(f"a {message.role} message cannot come before the results of calls {waiting}")
        else:
            self._check_calls(message)

    def _check_results(self, message: Message) -> None:
        seen: set[str] = set()
        for part in message.parts:
            assert isinstance(part, ToolResultPart)
            if part.call_id not in self._calls:
                raise ContextError(f"the result for {part.call_id} has no call")
            if part.call_id not in self._open or part.call_id in seen:
                raise ContextError(f"call {part.call_id} has a result already")
            seen.add(part.call_id)

    def _check_calls(self, message: Message) -> None:
        seen: set[str] = set()
        for call in message.tool_calls:
            if call.id in self._calls or call.id in seen:
                raise ContextError(f"the call id {call.id} is used already")
            seen.add(call.id)


def unanswered(call: ToolCallPart, reason: str) -> ToolResultPart:
    """The result of a call that has none, so that history stays paired; the model reads the reason."""
    content = (TextPart(text=f"No result: {reason}"),)
    return ToolResultPart(call_id=call.id, name=call.name, content=content, is_error=True)


def has_content(message: Message) -> bool:
    """Whether a provider would take it: one part at least says something."""
    return any(_says_something(part) for part in message.parts)


def _says_something(part: AnyPart) -> bool:
    match part:
        case TextPart() | RefusalPart():
            return bool(part.text or part.signature)
        case ThinkingPart():
            return bool(part.text or part.signature or part.redacted or part.encrypted)
        case _:
            return True


def with_unique_calls(message: Message, store: ContextStore) -> Message:
    """The message with each call id that is taken renamed; servers without ids of their own repeat them."""
    calls = UniqueCalls(store)
    parts: list[AnyPart] = []
    for part in message.parts:
        if isinstance(part, ToolCallPart):
            unique = calls.name(part.id)
            if unique != part.id:
                parts.append(part.model_copy(update={"id": unique, "id_source": "synthesised"}))
                continue
        parts.append(part)
    return message.model_copy(update={"parts": tuple(parts)})


class UniqueCalls:
    """Names the calls of one answer in their order, so that no id comes twice in a conversation."""

    def __init__(self, store: ContextStore) -> None:
        self._store = store
        self._seen: set[str] = set()

    def name(self, wanted: str) -> str:
        """The id that a call has in the conversation: its own, or where that is taken one like it."""
        unique, number = wanted, 2
        while not unique or unique in self._seen or self._store.knows_call(unique):
            unique, number = f"{wanted or 'call'}-{number}", number + 1
        self._seen.add(unique)
        return unique
