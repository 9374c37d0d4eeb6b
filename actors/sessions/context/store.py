"""The context store: one conversation as ordered messages of ordered parts, always fit to be sent.

Every change is an entry, appended and never altered; the messages are what the entries come to.
A journal keeps entries and a restart applies them again. What holds after each entry:

- a call id is used once in the conversation, and has at most one result, which follows it;
- after an assistant message with calls nothing but their results comes, until all are there;
- no message is empty, and each kind of part stands only where its role may hold it;
- notes and summaries are of messages that are there, and go when those are taken back.

Providers refuse conversations that break these rules, so what breaks them is refused here, by
`ContextError`, and leaves the store as it was.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from pydantic import Field, TypeAdapter
from pydantic_core import PydanticSerializationError, to_json

from llmgine.actors.sessions.context.entries import (
    Appended,
    ContextEntry,
    Noted,
    RolledBack,
    Summarised,
    Summary,
)
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


# The note that keeps a message in view whatever the window leaves out.
PINNED = "pinned"

_LONGEST_KEY = 100
_LARGEST_NOTE = 64 * 1024


class _Snapshot(Contract):
    format: int
    sequence: int
    messages: tuple[Message, ...]
    notes: dict[int, dict[str, Any]] = Field(default_factory=dict)
    summaries: tuple[Summary, ...] = ()


_SNAPSHOT = TypeAdapter(_Snapshot)


class ContextStore:
    """One conversation; `sequence` counts its entries, so a journal knows where it stands."""

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._messages: list[Message] = []
        self._calls: set[str] = set()
        self._open: dict[str, ToolCallPart] = {}
        self._view: tuple[Message, ...] | None = ()
        self._notes: dict[int, dict[str, Any]] = {}
        self._summaries: list[Summary] = []
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

    @property
    def notes(self) -> Mapping[int, Mapping[str, Any]]:
        """What was noted, by the message's number and the note's key."""
        return MappingProxyType(self._notes)

    @property
    def pinned(self) -> frozenset[int]:
        """Numbers of the messages that stay in view."""
        return frozenset(number for number, notes in self._notes.items() if notes.get(PINNED))

    @property
    def summaries(self) -> tuple[Summary, ...]:
        """Every summary that was made, in order; the last one stands for the most."""
        return tuple(self._summaries)

    def append(self, message: Message) -> Appended:
        """Adds a message; ContextError where it does not fit."""
        self._check(message)
        self._add(message)
        self.sequence += 1
        return Appended(sequence=self.sequence, message=message)

    def repair(self, reason: str, leaving: Container[str] = ()) -> Appended | None:
        """Answers every open call with an error result that gives the reason; None where none is open.

        Those whose ids are in `leaving` stay open.
        """
        calls = [call for call in self._open.values() if call.id not in leaving]
        if not calls:
            return None
        return self.append(Message(role="tool", parts=tuple(unanswered(call, reason) for call in calls)))

    def rollback(self, length: int, *, to_open_calls: bool = False) -> RolledBack:
        """Takes back all but the first `length` messages.

        ContextError where that would leave calls open, unless it is to where they were.
        """
        if not 0 <= length <= len(self._messages):
            raise ContextError(f"the conversation has {len(self._messages)} messages, not {length}")
        kept = ContextStore(self._messages[:length])
        if kept._open and not to_open_calls:
            raise ContextError(f"a rollback to {length} messages would part calls from their results")
        self._messages, self._calls, self._open = kept._messages, kept._calls, kept._open
        self._notes = {number: notes for number, notes in self._notes.items() if number < length}
        self._summaries = [summary for summary in self._summaries if summary.upto <= length]
        self._view = None
        self.sequence += 1
        return RolledBack(sequence=self.sequence, length=length)

    def note(self, message: int, key: str, value: Any) -> Noted:
        """Notes a JSON value at a message, over what stood there; None takes it away."""
        _check_note(key, value)
        if not 0 <= message < len(self._messages):
            raise ContextError(f"there is no message {message}; the conversation has {len(self._messages)}")
        notes = {**self._notes.get(message, {}), key: value}
        if value is None:
            del notes[key]
        self._notes.pop(message, None)
        if notes:
            self._notes[message] = notes
        self.sequence += 1
        return Noted(sequence=self.sequence, message=message, key=key, value=value)

    def summarise(self, summary: Summary) -> Summarised:
        """Adds a summary; ContextError where it would part calls from results or does not go further."""
        last = self._summaries[-1].upto if self._summaries else 0
        if summary.since != last or not last < summary.upto <= len(self._messages):
            raise ContextError(
                f"a summary up to {summary.upto} from {summary.since} cannot follow one to {last}"
            )
        whole = summary.upto == len(self._messages)
        if self._open if whole else self._messages[summary.upto].role == "tool":
            raise ContextError(f"a summary up to {summary.upto} would part calls from their results")
        self._summaries.append(summary)
        self.sequence += 1
        return Summarised(sequence=self.sequence, summary=summary)

    def apply(self, entry: ContextEntry) -> None:
        """Does what an entry of a journal says; ContextError where it is not the next one."""
        if entry.sequence != self.sequence + 1:
            raise ContextError(f"entry {entry.sequence} does not follow entry {self.sequence}")
        match entry:
            case Appended(message=message):
                self.append(message)
            case RolledBack(length=length):
                self.rollback(length, to_open_calls=True)
            case Noted(message=number, key=key, value=value):
                self.note(number, key, value)
            case Summarised(summary=summary):
                self.summarise(summary)

    def fork(self, at: int | None = None) -> ContextStore:
        """An independent copy of the first `at` messages, of all by default, with their notes and summaries.

        Calls whose results are not in it are answered there: they arrive here, if at all.
        """
        length = len(self._messages) if at is None else at
        if not 0 <= length <= len(self._messages):
            raise ContextError(f"the conversation has {len(self._messages)} messages, not {length}")
        copy = ContextStore(self._messages[:length])
        copy._notes = {number: dict(notes) for number, notes in self._notes.items() if number < length}
        copy._summaries = [summary for summary in self._summaries if summary.upto <= length]
        copy.repair("the conversation was forked before this call had returned")
        return copy

    def to_json(self) -> bytes:
        """The store as JSON; the same bytes however often it is written and read, in every process."""
        snapshot = _Snapshot(
            format=FORMAT,
            sequence=self.sequence,
            messages=self.view(),
            notes={number: dict(sorted(self._notes[number].items())) for number in sorted(self._notes)},
            summaries=self.summaries,
        )
        return _SNAPSHOT.dump_json(snapshot)

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
        for summary in snapshot.summaries:
            store.summarise(summary)
        for number, notes in snapshot.notes.items():
            for key, value in notes.items():
                store.note(number, key, value)
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


def _check_note(key: str, value: Any) -> None:
    if not key.isprintable() or not 0 < len(key) <= _LONGEST_KEY:
        raise ContextError(f"a note's key is 1 to {_LONGEST_KEY} printable characters, not {key[:50]!r}")
    try:
        size = len(to_json(value))
    except (PydanticSerializationError, ValueError) as error:
        raise ContextError(f"the note {key!r} holds what is no JSON: {error}") from None
    if size > _LARGEST_NOTE:
        raise ContextError(f"the note {key!r} has {size} bytes; notes may have {_LARGEST_NOTE}")


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
    parts, is_changed = list(message.parts), False
    for place, part in enumerate(parts):
        if isinstance(part, ToolCallPart):
            unique = calls.name(part.id)
            if unique != part.id:
                parts[place] = part.model_copy(update={"id": unique, "id_source": "synthesised"})
                is_changed = True
    return message.model_copy(update={"parts": tuple(parts)}) if is_changed else message


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
