"""Deliberate bugs, for tests of the simulation only: each breaks one promise and must be noticed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from unittest import mock

from llmgine.actors.breaking import Breaker
from llmgine.actors.bus import wire
from llmgine.actors.bus.client.outbox import Outbox
from llmgine.actors.bus.handling.dedup import Line
from llmgine.actors.bus.handling.inbox import Inbox
from llmgine.actors.bus.handling.queue import Queue
from llmgine.actors.bus.numbering import Numbering
from llmgine.actors.bus.router.ends import Ends
from llmgine.actors.bus.router.handover import Handover
from llmgine.actors.bus.router.journal import Journal
from llmgine.actors.bus.router.letters import failure_of
from llmgine.actors.bus.router.origins import Origins
from llmgine.actors.bus.router.parcel import Parcel
from llmgine.actors.bus.router.replay import Replays
from llmgine.actors.bus.router.routes import Route, Routes
from llmgine.actors.bus.router.schedule import Schedules
from llmgine.actors.bus.router.serving import Serving
from llmgine.actors.bus.router.state import RouterState
from llmgine.actors.bus.router.verdicts import Verdicts
from llmgine.actors.link.flow import ReceiveWindow
from llmgine.actors.store.operations import HandlerDone
from tests.simulation.deliberate import Bugs
from tests.simulation.router import RouterHost

BUGS = Bugs()


# Handling


@BUGS.of(Line, "seen")
def no_dedup(right: Any, line: Line, sequence: int) -> bool:
    return False


@BUGS.of(Inbox, "_join")
def no_join(right: Any, inbox: Inbox, line: Line, sequence: int, entry: int) -> bool:
    return False


@BUGS.of(Inbox, "verdict")
def lost_resume(right: Any, inbox: Inbox, number: int, entry: int, recall: int) -> None:
    queue = inbox.queues.get(number)
    if queue is None or recall == wire.KEEP:
        right(inbox, number, entry, recall)


@BUGS.of(Queue, "gather")
def batch_lanes_left_open(right: Any, queue: Queue, size: int) -> list[Any]:
    jobs: list[Any] = right(queue, size)
    lanes = [queue._lanes.get(queue.lane(job) or "") for job in jobs]
    queue._ready.extend(lane for lane in lanes[:1] if lane)
    return jobs


@BUGS.of(Queue, "await_verdict")
def started_before_the_verdict(right: Any, queue: Queue, *rest: Any) -> None:
    pass


# Router


@BUGS.of(RouterState, "admitted")
def settled_before_done(right: Any, state: RouterState, record: Any, *, deferred: bool = False) -> None:
    right(state, record, deferred=deferred)
    client = record.head.line.client
    if client.connected and not record.head.wants_result and not record.waiting:
        state.settled_range(client, record.head.line.session, record.sequence, record.sequence)


@BUGS.of(Verdicts, "_again")
def lane_not_held(right: Any, verdicts: Verdicts, serving: Any, entry: int, record: Any, delay: float) -> int:
    with mock.patch.object(type(serving.mailbox), "lane", return_value=None):
        right(verdicts, serving, entry, record, delay)
    return wire.KEEP


@BUGS.of(Verdicts, "_due")
def double_retry(right: Any, verdicts: Verdicts, mailbox: Any, trouble: Any, record: Any) -> None:
    right(verdicts, mailbox, trouble, record)
    mailbox.put_back([record])


@BUGS.of(Parcel, "_place")
def floor_too_high(right: Any, parcel: Parcel, record: Any) -> int:
    position: int = right(parcel, record)
    parcel.runs[-1][5] = max(parcel.runs[-1][5], record.sequence + 2)
    return position


@BUGS.of(Serving, "released")
def member_lane_moved_while_in_hand(right: Any, serving: Serving, record: Any) -> None:
    if serving.lanes is not None:
        serving.lanes.clear()


@BUGS.of(Handover, "_retire")
def handed_over_while_it_runs(right: Any, handover: Handover, serving: Serving) -> None:
    serving.retiring = True
    handover.hand_over(serving.mailbox, serving)


@BUGS.of(Handover, "_discard_all")
def removed_with_what_waits(right: Any, handover: Handover, mailbox: Any) -> None:
    mailbox.drain()


@BUGS.of(Routes, "sift")
def filters_of_the_bus_not_asked(right: Any, routes: Routes, route: Route, record: Any, now: float) -> Any:
    return right(routes, Route(route.stages, route.screened, ()), record, now)


# Breakers


@BUGS.of(Breaker, "failed")
def stale_permit(right: Any, breaker: Breaker, generation: int, now: float, slow: bool = False) -> bool:
    changed: bool = right(breaker, breaker.generation, now, slow)
    return changed


@BUGS.of(Breaker, "take")
def half_open_unlimited(right: Any, breaker: Breaker, count: int) -> None:
    pass


# Durability


@BUGS.of(Journal, "keep")
def acknowledged_before_the_journal(
    right: Any, journal: Journal, record: Any, stages: Any, keys: Any
) -> None:
    right(journal, record, stages, keys)
    journal._committed(record)


@BUGS.of(Journal, "_route")
def journal_dropped_before_done(right: Any, journal: Journal, record: Any, kept: Any) -> None:
    right(journal, record, kept)
    for mailbox in kept.pending:
        journal._state.writes.add(HandlerDone(record.id, mailbox.subscription.key_text))


@BUGS.of(Schedules, "_fire")
def schedule_advanced_before_settled(right: Any, schedules: Schedules, entry: Any, wall: int) -> bool:
    fired: bool = right(schedules, entry, wall)
    if fired and entry.row.every is None:
        schedules._settled(entry, True)
    return fired


@BUGS.of(RouterHost, "told")
def journal_read_before_the_table_is_restored(right: Any, router: RouterHost, what: str, body: Any) -> None:
    right(router, what, body)
    if what == "load":
        right(router, "restored", None)


# Dead letters


@BUGS.of(Ends, "fail")
def dead_lettered_twice(
    right: Any, ends: Ends, mailbox: Any, record: Any, reason: Any, *rest: Any, **more: Any
) -> None:
    ends._state.failures.take(failure_of(record, mailbox.subscription, reason, *rest))
    right(ends, mailbox, record, reason, *rest, **more)


@BUGS.of(Origins, "send")
def replayed_for_everybody(right: Any, origins: Origins, origin: Any) -> bool:
    sent: bool = right(origins, origin if origin.command else replace(origin, only=None))
    return sent


@BUGS.of(Replays, "_settled")
def letter_stays_after_its_replay(right: Any, replays: Replays, replay: Any, success: bool) -> None:
    if not success:
        right(replays, replay, success)
        return
    replays._state.failures.replaying.pop(replay.row.id, None)
    replays._answer(replay, {"handled": True, "attempts": 1, "text": ""})


@BUGS.of(Journal, "_close")
def floor_above_what_failed(right: Any, journal: Journal, record: Any) -> None:
    right(journal, record)
    record.head.line.stored = None


# Link


@BUGS.of(ReceiveWindow, "consumed")
def credit_leak(right: Any, window: ReceiveWindow, size: int) -> tuple[int, int] | None:
    granted = right(window, size)
    return None if granted is None else (granted[0] - 1, granted[1])


@BUGS.of(Numbering, "take")
def numbering_ignored(right: Any, numbering: Numbering, message: Any) -> list[Any]:
    rest: list[Any] = message[1:]
    return rest


# Client


@BUGS.of(Outbox, "admitted")
def forgotten_when_admitted(right: Any, outbox: Outbox, session: str, first: int, last: int) -> list[Any]:
    news: list[Any] = right(outbox, session, first, last)
    outbox.settled(session, first, last)
    return news


@BUGS.of(Outbox, "resume")
def resumed_from_the_end(right: Any, outbox: Outbox, received: Any, *, again: bool) -> None:
    right(outbox, [(line.session, line.sent) for line in outbox.lines.values()], again=again)
