"""The context store keeps a conversation fit to be sent, whatever is done to it."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from llmgine.actors.sessions.context.entries import Appended, ContextEntry
from llmgine.actors.sessions.context.store import (
    ContextStore,
    unanswered,
    with_unique_calls,
)
from llmgine.actors.sessions.errors import ContextError
from llmgine.providers.contracts import (
    AudioPart,
    DocumentPart,
    ImagePart,
    MediaPart,
    Message,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
)


def asks(*ids: str) -> Message:
    return Message(role="assistant", parts=tuple(ToolCallPart(id=id_, name="t", arguments={}) for id_ in ids))


def answers(*ids: str) -> Message:
    content = (TextPart(text="ok"),)
    return Message(role="tool", parts=tuple(ToolResultPart(call_id=id_, content=content) for id_ in ids))


def refuses(store: ContextStore, message: Message, match: str) -> None:
    before = store.to_json()
    with pytest.raises(ContextError, match=match):
        store.append(message)
    assert store.to_json() == before


def test_result_needs_its_call() -> None:
    """A result without a call is refused, and the conversation is unchanged."""
    store = ContextStore([Message.user("hi")])
    refuses(store, answers("c1"), "has no call")


def test_call_has_one_result() -> None:
    """A second result for one call is refused, in the same message and in a later one."""
    refuses(ContextStore([Message.user("hi"), asks("c1")]), answers("c1", "c1"), "has a result already")
    refuses(ContextStore([Message.user("hi"), asks("c1"), answers("c1")]), answers("c1"), "result already")


def test_call_ids_are_unique() -> None:
    """A call id is used once in a conversation."""
    refuses(ContextStore([Message.user("hi")]), asks("c1", "c1"), "used already")
    refuses(ContextStore([Message.user("hi"), asks("c1"), answers("c1")]), asks("c1"), "used already")


@pytest.mark.parametrize("message", [Message.user("next"), Message.assistant("done"), Message.system("be")])
def test_nothing_comes_between_calls_and_results(message: Message) -> None:
    """After an assistant message with calls nothing but results is taken until all are there."""
    store = ContextStore([Message.user("hi"), asks("c1", "c2"), answers("c2")])
    refuses(store, message, "before the results of calls c1")
    store.append(answers("c1"))
    store.append(message)


@pytest.mark.parametrize(
    "message",
    [
        Message(role="assistant", parts=()),
        Message(role="assistant", parts=(TextPart(text=""), ThinkingPart())),
        Message(role="user", parts=()),
        Message.user(""),
    ],
)
def test_no_message_is_empty(message: Message) -> None:
    """A message that says nothing is refused, whatever parts it has."""
    refuses(ContextStore(), message, "is empty")


@pytest.mark.parametrize(
    "part",
    [TextPart(text="", signature="seal"), ThinkingPart(encrypted="seal"), ThinkingPart(redacted="seal")],
)
def test_what_only_its_maker_reads_is_kept(part: TextPart | ThinkingPart) -> None:
    """A part without text that carries a seal is not empty: its provider wants it back."""
    store = ContextStore([Message.user("hi")])
    store.append(Message(role="assistant", parts=(part,)))
    assert store.view()[-1].parts == (part,)


@pytest.mark.parametrize(
    "message",
    [
        Message(role="user", parts=(ToolCallPart(id="c1", name="t", arguments={}),)),
        Message(role="assistant", parts=answers("c1").parts),
        Message(role="tool", parts=(TextPart(text="hi"),)),
        Message(role="system", parts=(ImagePart(url="https://example.org/a.png"),)),
    ],
)
def test_parts_stand_where_their_role_holds_them(message: Message) -> None:
    """A part in a message of the wrong role is refused."""
    refuses(ContextStore(), message, "cannot stand")


@pytest.mark.parametrize("role", ["user", "assistant"])
@pytest.mark.parametrize("kind", [ImagePart, AudioPart, DocumentPart])
def test_media_stand_with_who_shows_them(role: Literal["user", "assistant"], kind: type[MediaPart]) -> None:
    """A user and a model may each show images, sound and documents."""
    store = ContextStore()
    store.append(Message(role=role, parts=(kind(data=b"some"),)))
    assert ContextStore.from_json(store.to_json()).view() == store.view()


def test_repair_answers_each_open_call() -> None:
    """After a repair every call has a result that gives the reason, and the conversation goes on."""
    store = ContextStore([Message.user("hi"), asks("c1", "c2"), answers("c1")])
    entry = store.repair("the process ended")
    assert isinstance(entry, Appended)
    (result,) = entry.message.parts
    assert isinstance(result, ToolResultPart)
    assert (result.call_id, result.is_error) == ("c2", True)
    assert "the process ended" in result.text
    assert store.repair("again") is None
    store.append(Message.user("next"))


def test_fork_is_independent() -> None:
    """A fork pairs its open calls at once, and neither side sees what the other adds."""
    store = ContextStore([Message.user("hi"), asks("c1")])
    fork = store.fork()
    fork.append(Message.user("elsewhere"))
    store.append(answers("c1"))
    assert [message.role for message in fork.view()] == ["user", "assistant", "tool", "user"]
    assert [message.role for message in store.view()] == ["user", "assistant", "tool"]


def test_rollback_never_parts_calls_from_results() -> None:
    """A rollback to a place between calls and results is refused; elsewhere the ids are free again."""
    store = ContextStore([Message.user("hi"), asks("c1"), answers("c1")])
    with pytest.raises(ContextError, match="part calls from their results"):
        store.rollback(2)
    assert len(store) == 3
    store.rollback(1)
    store.append(asks("c1"))


def test_entries_rebuild_the_conversation() -> None:
    """Applying a store's entries in order gives the same store; an entry out of order is refused."""
    store = ContextStore()
    entries: list[ContextEntry] = [
        store.append(Message.user("hi")),
        store.append(asks("c1")),
        *filter(None, [store.repair("lost")]),
        store.rollback(0),
        store.append(Message.user("again")),
    ]
    copy = ContextStore()
    for entry in entries:
        copy.apply(entry)
    assert copy.to_json() == store.to_json()
    with pytest.raises(ContextError, match="does not follow"):
        copy.apply(entries[0])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b'{"format":99,"sequence":0,"messages":[]}',
        b'{"format":1,"sequence":0,"messages":[{"role":"user","parts":[]}]}',
    ],
)
def test_what_is_no_conversation_is_refused(data: bytes) -> None:
    """Bytes that hold no conversation of this format and order are a `ContextError`."""
    with pytest.raises(ContextError):
        ContextStore.from_json(data)


def test_repeated_call_ids_are_renamed() -> None:
    """Calls whose server repeats ids are renamed, each unlike any in the conversation, others stay."""
    store = ContextStore([Message.user("hi"), asks("c1"), answers("c1")])
    renamed = with_unique_calls(asks("c1", "c1", "new", ""), store)
    ids = [call.id for call in renamed.tool_calls]
    assert len(set(ids)) == 4
    assert ids[2] == "new"
    assert "c1" not in ids
    assert renamed.tool_calls[0].id_source == "synthesised"
    store.append(renamed)


names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | names,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=6,
)


class AnyHistory(RuleBasedStateMachine):
    """Random valid and invalid steps; the rules of the store hold after each."""

    def __init__(self) -> None:
        super().__init__()
        self.store = ContextStore()
        self.entries: list[ContextEntry] = []
        self.ids = 0

    def attempt(self, message: Message) -> None:
        try:
            self.entries.append(self.store.append(message))
        except ContextError:
            return

    @rule(text=names, role=st.sampled_from(["user", "assistant", "system"]))
    def say(self, text: str, role: str) -> None:
        self.attempt(Message.model_validate({"role": role, "parts": [{"type": "text", "text": text}]}))

    @rule(count=st.integers(1, 3), arguments=st.dictionaries(names, json_values, max_size=2), text=names)
    def ask(self, count: int, arguments: dict[str, object], text: str) -> None:
        calls = tuple(
            ToolCallPart(id=f"c{self.ids + number}", name="t", arguments=arguments) for number in range(count)
        )
        self.ids += count
        self.attempt(Message(role="assistant", parts=(TextPart(text=text), *calls)))

    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        known = [f"c{number}" for number in range(self.ids)] or ["c0"]
        ids = data.draw(st.lists(st.sampled_from(known[-4:]), min_size=1, max_size=3))
        self.attempt(answers(*ids))

    @rule()
    def repair(self) -> None:
        self.entries += filter(None, [self.store.repair("crashed")])

    @rule(data=st.data())
    def rollback(self, data: st.DataObject) -> None:
        length = data.draw(st.integers(0, len(self.store)))
        try:
            self.entries.append(self.store.rollback(length))
        except ContextError:
            return

    @invariant()
    def calls_and_results_pair(self) -> None:
        open_calls: list[str] = []
        seen: set[str] = set()
        for message in self.store.view():
            if message.role != "tool":
                assert not open_calls
            for part in message.parts:
                if isinstance(part, ToolCallPart):
                    assert part.id not in seen
                    seen.add(part.id)
                    open_calls.append(part.id)
                elif isinstance(part, ToolResultPart):
                    open_calls.remove(part.call_id)
        assert [call.id for call in self.store.open_calls] == open_calls

    @invariant()
    def written_and_read_back_it_is_the_same(self) -> None:
        data = self.store.to_json()
        again = ContextStore.from_json(data)
        assert again.to_json() == data
        assert again.view() == self.store.view()
        assert again.open_calls == self.store.open_calls

    def teardown(self) -> None:
        copy = ContextStore()
        for entry in self.entries:
            copy.apply(entry)
        assert copy.to_json() == self.store.to_json()


TestAnyHistory = AnyHistory.TestCase


@given(st.integers(1, 6), st.sets(st.integers(0, 5)))
def test_any_cut_is_repaired(count: int, answered: set[int]) -> None:
    """Whichever results had arrived, a repair answers exactly the others, in order of call."""
    ids = [f"c{number}" for number in range(count)]
    store = ContextStore([Message.user("hi"), asks(*ids)])
    there = [id_ for number, id_ in enumerate(ids) if number in answered]
    if there:
        store.append(answers(*there))
    store.repair("cut")
    left = [id_ for id_ in ids if id_ not in there]
    last = store.view()[-1]
    if left:
        assert [part.call_id for part in last.parts if isinstance(part, ToolResultPart)] == left
    assert not store.open_calls


def test_placeholder_names_its_call() -> None:
    """A placeholder result is an error of its call's name."""
    result = unanswered(ToolCallPart(id="c9", name="weather", arguments={}), "cancelled")
    assert (result.call_id, result.name, result.is_error) == ("c9", "weather", True)
