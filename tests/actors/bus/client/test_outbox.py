"""The outbox keeps what is not settled, and sends it again in order."""

from __future__ import annotations

from llmgine.actors.bus import BusOptions, wire
from llmgine.actors.bus.client.outbox import Entry, Outbox, RunHead


def test_an_outbox_keeps_until_settled_and_sends_again() -> None:
    """What the router has not received goes again, from the floor and marked, when it lost its memory."""
    outbox = Outbox(BusOptions(max_unadmitted=4, max_unsettled=8))
    for _ in range(6):
        outbox.add("s", Entry(RunHead("E"), b"x"))
    [run] = outbox.runs()
    assert run[:3] == ["s", "E", 1]
    assert len(run[7]) == 4
    assert outbox.runs() == []
    assert len(list(outbox.admitted("s", 1, 3))) == 3
    assert list(outbox.admitted("s", 1, 3)) == []
    assert len(list(outbox.settled("s", 2, 2))) == 1
    assert outbox.hello() == [["s", 1, 4]]
    outbox.resume([("s", 3)], again=False)
    assert [(run[2], len(run[7]), run[5]) for run in outbox.runs()] == [(4, 3, 0)]
    outbox.resume([], again=True)
    again = outbox.runs()
    assert [(run[2], len(run[7]), run[5]) for run in again] == [
        (1, 1, wire.AGAIN | wire.PROMISED),
        (2, 1, wire.VOID),
        (3, 1, wire.AGAIN | wire.PROMISED),
        (4, 2, wire.AGAIN),
    ]
    assert len(list(outbox.settled("s", 1, 6))) == 5
    assert (outbox.count, outbox.bytes) == (0, 0)


def test_what_is_to_be_sent_again_is_not_settled() -> None:
    """A second router in a row that has received nothing is told of the line all the same."""
    outbox = Outbox(BusOptions())
    outbox.add("s", Entry(RunHead("E"), b"x"))
    assert outbox.runs()
    outbox.resume([], again=True)
    assert outbox.hello() == [["s", 1, 0]]


def test_an_outbox_cuts_a_run_where_messages_differ() -> None:
    """Equal messages share a run, however many lines there are; a publish holds at most one batch."""
    outbox = Outbox(BusOptions())
    for line in ("E", "E", "F"):
        outbox.add("s", Entry(RunHead(line), b"x"))
    for _ in range(wire.BATCH_EVENTS):
        outbox.add("t", Entry(RunHead("E"), b"x"))
    first, second = outbox.runs(), outbox.runs()
    assert [(run[1], run[2], len(run[7])) for run in first] == [
        ("E", 1, 2),
        ("F", 3, 1),
        ("E", 1, wire.BATCH_EVENTS - 3),
    ]
    assert [(run[2], len(run[7])) for run in second] == [(wire.BATCH_EVENTS - 2, 3)]
    assert not outbox.has_unsent


def test_a_message_that_was_never_sent_can_be_given_up() -> None:
    """It keeps its place in the row and nothing else; one that was sent cannot."""
    outbox = Outbox(BusOptions(max_unadmitted=1))
    for _ in range(2):
        outbox.add("s", Entry(RunHead("E", flags=wire.COMMAND), b"x"))
    outbox.runs()
    assert not outbox.give_up("s", 1)
    assert outbox.give_up("s", 2)
    list(outbox.settled("s", 1, 1))
    [run] = outbox.runs()
    assert (run[2], run[5], run[7]) == (2, wire.VOID, [b""])
