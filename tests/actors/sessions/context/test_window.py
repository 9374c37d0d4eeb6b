"""Whatever was said, what a model is shown is whole, within its bound, and ends with what it is to answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmgine.actors.sessions.context.store import ContextStore
from llmgine.actors.sessions.context.window import Measured, Sight, Window
from llmgine.actors.sessions.errors import WindowTooSmall
from llmgine.providers.contracts import Message, TextPart, ToolCallPart, ToolResultPart
from llmgine.providers.errors import InvalidRequest


def asks(*ids: str) -> Message:
    return Message(role="assistant", parts=tuple(ToolCallPart(id=id_, name="t", arguments={}) for id_ in ids))


def answers(*ids: str) -> Message:
    content = (TextPart(text="ok"),)
    return Message(role="tool", parts=tuple(ToolResultPart(call_id=id_, content=content) for id_ in ids))


def sight(messages: Sequence[Message], prompt: int, pinned: frozenset[int] = frozenset()) -> Sight:
    measured = Measured(lambda message: len(message.text) or 1)
    measured.follow(messages)
    return Sight(measured, messages, measured.kept(pinned), prompt)


STEPS = st.lists(st.integers(1, 3), max_size=4)  # of each: how many calls it makes
TURNS = st.lists(st.tuples(st.integers(1, 30), STEPS, st.integers(0, 30), st.booleans()), max_size=12)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Message], int]:
    """Turns with steps of calls, some in several result messages, some steered; the last one under way."""
    messages: list[Message] = []
    number = prompt = 0
    for length, steps, answer, steered in [*draw(TURNS), (draw(st.integers(1, 30)), draw(STEPS), 0, False)]:
        if draw(st.integers(0, 9)) == 0:
            messages.append(Message.system("s" * 3))
        prompt = len(messages)
        messages.append(Message.user("u" * length))
        for calls in steps:
            ids = [f"c{number + one}" for one in range(calls)]
            number += calls
            messages.append(asks(*ids))
            messages += [answers(one) for one in ids] if draw(st.booleans()) else [answers(*ids)]
            if steered:
                messages.append(Message.user("!"))
        if answer:
            messages.append(Message.assistant("a" * answer))
    return messages, prompt


@given(conversations(), st.integers(1, 120), st.data())
def test_any_conversation_through_any_window(
    conversation: tuple[list[Message], int], bound: int, data: st.DataObject
) -> None:
    """A view keeps the rules, its bound, the prompt, the pins and the end; or says what is too much."""
    messages, prompt = conversation
    pins = data.draw(st.frozensets(st.integers(0, len(messages) - 1), max_size=2))
    look = sight(messages, prompt, pins)
    try:
        start = look.start_within(bound)
    except WindowTooSmall:
        # Nothing that may be shown is small enough.
        assert all(look.size_from(one) > bound for one in look._starts(0))
        return
    view = look.view_from(start)
    ContextStore(view)  # refuses what breaks the pairing
    assert sum(len(message.text) or 1 for message in view) <= bound
    assert view[-1] is messages[-1]
    assert messages[prompt] in view
    assert view[0].role in ("user", "system") or start == 0
    assert all(any(messages[pin] is message for message in view) for pin in pins)
    order = [next(n for n, one in enumerate(messages) if one is message) for message in view]
    assert order == sorted(set(order))


@given(conversations(), st.integers(1, 120))
def test_a_summary_stands_for_whole_steps(conversation: tuple[list[Message], int], keep: int) -> None:
    """Where a summary ends, no call is parted from its result, and the store takes it."""
    messages, prompt = conversation
    end = sight(messages, prompt).summary_end(keep, 0)
    if end is None:
        assert len(messages) == 1 or all(message.role == "tool" for message in messages[1:])
        return
    ContextStore(messages[:end])
    ContextStore(sight(messages, prompt).view_from(end))


def test_a_view_grows_before_it_is_cut_again() -> None:
    """Views of one turn after the other begin alike for many turns, so that caches of prompts hit."""
    messages: list[Message] = []
    starts: list[int] = []
    for turn in range(200):
        messages.append(Message.user(f"{turn:>4}"))
        starts.append(sight(messages, len(messages) - 1).start_within(80))
        messages.append(Message.assistant("four"))
    assert starts == sorted(starts)
    assert len(set(starts)) <= 200 * 8 / 40 + 1


def test_a_view_depends_on_the_conversation_only() -> None:
    """Whoever measured all from the start and whoever followed turn by turn show the same."""
    messages: list[Message] = []
    followed = Measured(lambda message: len(message.text))
    for turn in range(50):
        messages.append(Message.user("u" * (turn % 7 + 1)))
        followed.follow(messages)
        look = Sight(followed, messages, set(), len(messages) - 1)
        assert look.start_within(20) == sight(messages, len(messages) - 1).start_within(20)
        messages.append(Message.assistant("a" * (turn % 5 + 1)))


def test_a_long_turn_is_cut_between_its_steps() -> None:
    """A turn that outgrows the window keeps its prompt, what was said to it since, and its newest steps."""
    messages = [Message.user("old"), Message.assistant("old"), Message.user("goal")]
    for number in range(10):
        messages += [asks(f"c{number}"), answers(f"c{number}")]
    messages.insert(7, Message.user("hurry"))
    view = sight(messages, 2).view_from(sight(messages, 2).start_within(15))
    assert [message.text for message in view if message.role == "user"] == ["goal", "hurry"]
    assert view[-1] is messages[-1]
    assert view[2].role == "assistant"


def test_a_pin_brings_what_belongs_to_it() -> None:
    """A pinned result brings its call, the other results of that call's message, and the prompt."""
    messages = [Message.user("q"), asks("a", "b"), answers("a"), answers("b"), Message.assistant("done")]
    messages += [message for _ in range(9) for message in (Message.user("x"), Message.assistant("y"))]
    messages.append(Message.user("now"))
    look = sight(messages, len(messages) - 1, frozenset({3}))
    assert look.view_from(look.start_within(12))[:4] == tuple(messages[:4])


def test_what_was_taken_back_is_measured_anew() -> None:
    """After a rollback other messages at the same places count with their own size."""
    measured = Measured(lambda message: len(message.text))
    measured.follow([Message.user("aa"), Message.system("bb"), Message.user("cc")])
    measured.follow([Message.user("aa"), Message.user("dddd")])
    other = Measured(lambda message: len(message.text))
    other.follow([Message.user("aa"), Message.user("dddd")])
    assert measured.total == other.total == 6
    assert measured.kept(()) == set()


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Window.messages(0), "Window.messages: most= is a whole number from 1, not 0"),
        (lambda: Window.messages(cast("Any", "4")), "most= is a whole number from 1, not '4'"),
        (lambda: Window.tokens(cast("Any", 1.5)), "Window.tokens: most= is a whole number from 1, not 1.5"),
        (lambda: Window.summary(above=0), "Window.summary: above= is a whole number"),
        (lambda: Window.summary(model=""), "model= is provider/model, not ''"),
    ],
)
def test_windows_that_are_none(make: Callable[[], Window], told: str) -> None:
    """What cannot be is refused in the words in which it was asked for."""
    with pytest.raises(InvalidRequest, match=told):
        make()


def test_windows_are_checked_where_they_are_made() -> None:
    """A window that shows nothing is refused; one travels as JSON."""
    with pytest.raises(InvalidRequest, match="half of above"):
        Window.summary(above=100, keep=60)
    window = Window.summary(model="local/smollm2", above=1000)
    assert Window.model_validate_json(window.model_dump_json()) == window
