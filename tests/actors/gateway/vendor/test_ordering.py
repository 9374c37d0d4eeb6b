"""Parts of a streamed answer, one after the other."""

from __future__ import annotations

from typing import Any

from llmgine.actors.gateway.vendor.ordering import InOrder
from llmgine.providers.contracts import TextPart, ToolCallPart
from llmgine.providers.events import PartDone, TextDelta, ToolCallDelta, ToolCallStart


def told(*events: Any) -> list[Any]:
    order = InOrder()
    return [one for event in events for one in order.take(event)]


def shape(events: list[Any]) -> list[tuple[str, int]]:
    return [(event.type, event.index) for event in events]


def whole(index: int, arguments: str = "{}") -> PartDone:
    return PartDone(index, ToolCallPart(id=f"c{index}", name="t", arguments={}, raw_arguments=arguments))


def test_calls_that_are_written_at_the_same_time_come_one_by_one() -> None:
    """The later one waits until the arguments of the earlier one are whole."""
    events = told(
        ToolCallStart(0, "c0", "t"),
        ToolCallStart(1, "c1", "t"),
        ToolCallDelta(0, '{"a":'),
        ToolCallDelta(1, "{}"),
        ToolCallDelta(0, "1}"),
        whole(0, '{"a":1}'),
        whole(1),
    )
    assert shape(events) == [
        ("tool_call_start", 0),
        ("tool_call_delta", 0),
        ("tool_call_delta", 0),
        ("part_done", 0),
        ("tool_call_start", 1),
        ("tool_call_delta", 1),
        ("part_done", 1),
    ]


def test_a_call_ends_before_the_next_part_begins() -> None:
    """Its end is made of what came, where the provider tells the ends of all calls at the very end."""
    events = told(
        ToolCallStart(0, "c0", "t"), ToolCallDelta(0, "{}"), ToolCallStart(1, "c1", "t"), whole(0), whole(1)
    )
    assert shape(events)[2:4] == [("part_done", 0), ("tool_call_start", 1)]
    assert shape(events).count(("part_done", 0)) == 1
    assert events[2].part.arguments == {}


def test_a_text_ends_where_another_part_begins() -> None:
    """Its own end, where it comes in time, is the one that is told."""
    events = told(TextDelta(0, "a"), TextDelta(1, "b"), PartDone(0, TextPart(text="a")))
    assert shape(events) == [("text_delta", 0), ("part_done", 0), ("text_delta", 1)]
    cited = PartDone(0, TextPart(text="a", provider_data={"x": 1}))
    assert told(TextDelta(0, "a"), cited, TextDelta(1, "b"))[1] is cited
