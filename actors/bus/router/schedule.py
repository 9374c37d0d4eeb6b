"""Events that are published later, once or again and again: kept in the store, fired from here. Pure.

A scheduled event is acknowledged when the store has it, and its row goes, or moves on to the next time,
when its handlers are done: after a crash in between the same firing comes again, with the same identity.
Its firings never overlap. What lies ahead costs nothing but its memory.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any

from llmgine.actors.bus.errors import InvalidSchedule, UndecodableMessage
from llmgine.actors.bus.letters import Reason
from llmgine.actors.bus.payload import stamped_again
from llmgine.actors.bus.recurrence import following, latest, recurs
from llmgine.actors.bus.router.letters import Failure
from llmgine.actors.bus.router.places import FEW, Places
from llmgine.actors.bus.router.questions import Question
from llmgine.actors.bus.router.records import Origin
from llmgine.actors.store.coding import row_from_wire, row_to_wire
from llmgine.actors.store.operations import DropSchedule, PutSchedule, SetAside
from llmgine.actors.store.rows import ScheduleRow

if TYPE_CHECKING:
    from llmgine.actors.bus.router.state import RouterState

# Firings in one tick; the rest of those due at the same time follow in the next ones.
AT_ONCE = 256
# How late is late enough for the misfire policy to be asked, in nanoseconds.
ON_TIME = 5_000_000_000
# Scheduled events in one answer.
PAGE = 500
REMEMBERED = 1_000
EARLY = 1_000

Verb = Callable[[Question], None]

_SECOND = 1_000_000_000
# How often those that nobody handles are looked at, in seconds; and when the table of handlers has
# changed, where they are few.
_LOOK = 1.0
_LOOK_AGAIN = 0.1
_DAMAGE = (InvalidSchedule, UndecodableMessage, TypeError, ValueError, IndexError)


class _Is(Enum):
    SAVED = "being saved"
    ARMED = "armed"
    UNHANDLED = "due, and nobody handles it"
    FIRING = "firing"


class _Entry:
    """One scheduled event; `questions` wait for it to be saved, `leaving` for its cancellation.

    Where that comes during a firing, `settled` says that the firing has ended meanwhile.
    """

    __slots__ = ("leaving", "questions", "row", "settled", "state")

    def __init__(self, row: ScheduleRow, state: _Is) -> None:
        self.row = row
        self.state = state
        self.questions: list[Question] = []
        self.leaving: list[Question] | None = None
        self.settled = False


class Schedules:
    """The scheduled events of one router's sessions, and the verbs `schedule`, `unschedule`, `scheduled`."""

    def __init__(self, state: RouterState) -> None:
        self.counters: Counter[str] = Counter()
        self._state = state
        self._entries: dict[str, _Entry] = {}
        self._places: Places[_Entry] = Places()
        # The latest that have come to their end, with the time of their making.
        self._over: OrderedDict[str, int] = OrderedDict()
        self._unhandled: dict[str, _Entry] = {}
        self._look_at = 0.0
        self._serial = 0
        self._grace = round(state.options.misfire_grace * _SECOND)
        # Who asked before it was known what is scheduled; None once it is.
        self._early: list[tuple[Verb, Question]] | None = []
        state.verbs["schedule"] = partial(self._when_known, self._schedule)
        state.verbs["unschedule"] = partial(self._when_known, self._unschedule)
        state.verbs["scheduled"] = partial(self._when_known, self._scheduled)

    def __len__(self) -> int:
        return len(self._entries)

    def recover(self, rows: Iterable[ScheduleRow]) -> None:
        """What the store has kept; what is known here stays as it is, what is damaged is set aside."""
        for row in rows:
            if row.id in self._entries:
                continue
            try:
                _check(row)
            except _DAMAGE as error:
                self.counters["schedules_set_aside"] += 1
                self._state.writes.add(SetAside("schedule", row.id, str(error)))
                continue
            entry = self._entries[row.id] = _Entry(row, _Is.ARMED)
            self._arm(entry)
        early, self._early = self._early or [], None
        for verb, question in early:
            verb(question)

    # Asked by clients

    def _when_known(self, verb: Verb, question: Question) -> None:
        """Now, or once the store has said what is scheduled, which is waited for as for any write."""
        if self._early is None:
            verb(question)
        elif len(self._early) >= EARLY:
            question.refuse("busy", "too many wait for the store to say what is scheduled; try again")
        else:
            item = (verb, question)
            self._early.append(item)
            late = self._state.now + self._state.options.journal_timeout
            self._state.timers.at(late, partial(self._too_early, item))

    def _too_early(self, item: tuple[Verb, Question]) -> None:
        if self._early is not None:
            self._early.remove(item)
            patience = self._state.options.journal_timeout
            text = (
                f"the store has not said within {patience:g} s what is scheduled (bus option journal_timeout)"
            )
            item[1].refuse("store", text)

    def _schedule(self, question: Question) -> None:
        try:
            row: ScheduleRow = row_from_wire(ScheduleRow, question.body["row"])
            _check(row)
        except (*_DAMAGE, KeyError) as error:
            question.refuse("invalid", f"not a scheduled event: {error}")
            return
        if self._over.get(row.id) == row.created:
            question.answer({"at": row.at})
            return
        former = self._entries.get(row.id)
        if former is None or not self._is_known(former, row, question):
            self._save(row, former, question)

    def _is_known(self, former: _Entry, row: ScheduleRow, question: Question) -> bool:
        """Whether the question has its answer, or will get it, without anything being written."""
        if former.leaving is not None:
            question.refuse("busy", f"the scheduled event {row.id!r} is being cancelled; try again")
        elif former.state is not _Is.SAVED and former.row.created == row.created:
            question.answer({"at": former.row.at})
        elif former.row.created == row.created:
            former.questions.append(question)
        elif former.state is _Is.SAVED:
            question.refuse("busy", f"the scheduled event {row.id!r} is being saved; try again")
        else:
            return False
        return True

    def _save(self, row: ScheduleRow, former: _Entry | None, question: Question) -> None:
        entry = _Entry(row, _Is.SAVED)
        entry.questions.append(question)
        if former is not None:
            self._take_out(former)
        self._entries[row.id] = entry
        self._state.writes.add(
            PutSchedule(row),
            partial(self._saved, entry),
            partial(self._not_saved, entry, former),
            (PutSchedule(former.row) if former is not None else DropSchedule(row.id),),
        )

    def _saved(self, entry: _Entry) -> None:
        self._arm(entry)
        questions, entry.questions = entry.questions, []
        for question in questions:
            question.answer({"at": entry.row.at})

    def _not_saved(self, entry: _Entry, former: _Entry | None, text: str) -> None:
        self._take_out(entry)
        if former is not None:
            self._entries[former.row.id] = former
            self._back(former)
        for question in entry.questions:
            question.refuse("store", f"the event was not scheduled: {text}")

    def _back(self, entry: _Entry) -> None:
        """It stays after all."""
        if entry.settled:
            self._move_on(entry)
        elif entry.state in (_Is.ARMED, _Is.UNHANDLED):
            self._arm(entry)

    def _unschedule(self, question: Question) -> None:
        id_ = str(question.body["id"])
        entry = self._entries.get(id_)
        if entry is None or (entry.state is _Is.FIRING and not recurs(entry.row)):
            question.answer({"cancelled": False})
            return
        if entry.state is _Is.SAVED:
            question.refuse("busy", f"the scheduled event {id_!r} is being saved; try again")
            return
        if entry.leaving is not None:
            entry.leaving.append(question)
            return
        entry.leaving = [question]
        self._unhandled.pop(id_, None)
        self._places.drop(entry)
        self._state.writes.add(
            DropSchedule(id_),
            partial(self._left, entry),
            partial(self._stays, entry),
            (PutSchedule(entry.row),),
        )

    def _left(self, entry: _Entry) -> None:
        self._take_out(entry)
        for question in entry.leaving or ():
            question.answer({"cancelled": True})
        self.counters["schedules_cancelled"] += 1

    def _stays(self, entry: _Entry, text: str) -> None:
        questions, entry.leaving = entry.leaving or [], None
        for question in questions:
            question.refuse("store", f"the event was not cancelled: {text}")
        self._back(entry)

    def _scheduled(self, question: Question) -> None:
        after = str(question.body.get("after", ""))
        known = [
            entry.row
            for id_, entry in self._entries.items()
            if id_ > after and entry.leaving is None and entry.state is not _Is.SAVED
        ]
        page = heapq.nsmallest(PAGE + 1, known, key=lambda row: row.id)
        last = page[PAGE - 1].id if len(page) > PAGE else None
        question.answer({"rows": [row_to_wire(row) for row in page[:PAGE]], "next": last})

    # Time

    def next_time(self, now: float, wall: int) -> float | None:
        """When something is due, by the router's clock; None while nothing is."""
        at = self._places.first()
        due = None if at is None else now + max(0, at - wall) / _SECOND
        if self._unhandled:
            return self._look_at if due is None else min(due, self._look_at)
        return due

    def tick(self, now: float, wall: int) -> None:
        """Fire what is due, a bounded number at a time; the wall clock may have jumped either way."""
        if self._unhandled and (now >= self._look_at or self._may_be_handled(now)):
            self._look(now, wall)
        for _ in range(AT_ONCE):
            entry = self._places.pop(wall)
            if entry is None:
                return
            self._due(entry, now, wall)

    def _due(self, entry: _Entry, now: float, wall: int) -> None:
        if wall - entry.row.at > self._patience(entry.row):
            self._missed(entry, wall, "expired")
            return
        if not self._fire(entry, wall):
            if not self._unhandled:
                self._looked(now)
            entry.state = _Is.UNHANDLED
            self._unhandled[entry.row.id] = entry

    def _look(self, now: float, wall: int) -> None:
        """Whether somebody handles by now what nobody did."""
        self._looked(now)
        for entry in list(self._unhandled.values()):
            if wall - entry.row.at > self._patience(entry.row):
                self._missed(entry, wall, "no_handler")
            else:
                self._fire(entry, wall)

    def _looked(self, now: float) -> None:
        self._look_at = now + _LOOK
        self._serial = self._state.table.serial

    def _may_be_handled(self, now: float) -> bool:
        changed = self._serial != self._state.table.serial and len(self._unhandled) <= AT_ONCE
        return changed and now >= self._look_at - _LOOK + _LOOK_AGAIN

    def _patience(self, row: ScheduleRow) -> int:
        """How late it may still fire."""
        return self._grace if row.misfire == "fire" else min(ON_TIME, self._grace)

    def _fire(self, entry: _Entry, wall: int) -> bool:
        """Publish it; False where nobody would get it, and nothing has happened."""
        row = entry.row
        before, entry.state = entry.state, _Is.FIRING
        unhandled = self._unhandled.pop(row.id, None)
        origin = Origin(
            producer=f"schedule:{row.id}",
            epoch=row.created,
            session=row.session,
            sequence=row.fired + 1,
            lineage=row.lineage,
            body=stamped_again(row.body, wall),
            on_settled=partial(self._settled, entry),
        )
        if not self._state.originate(origin):
            entry.state = before
            if unhandled is not None:
                self._unhandled[row.id] = entry
            return False
        self.counters["schedules_fired_total"] += 1
        return True

    def _settled(self, entry: _Entry, success: bool) -> None:
        """Every handler of the firing is done with it, well or not."""
        entry.row = replace(entry.row, fired=entry.row.fired + 1)
        if entry.leaving is not None or self._entries.get(entry.row.id) is not entry:
            entry.settled = True
        else:
            self._move_on(entry)

    def _missed(self, entry: _Entry, wall: int, reason: Reason) -> None:
        """Too late: one that recurs is left out this time, one that does not is a dead letter."""
        row = entry.row
        self.counters["schedules_missed_total"] += 1
        if not recurs(row):
            late = (wall - row.at) / _SECOND
            why = "nobody handled it" if reason == "no_handler" else "nobody could fire it"
            text = (
                f"{why} within {late:.1f} s of its time (misfire={row.misfire!r}, bus option misfire_grace)"
            )
            message = f"schedule:{row.id}:{row.created}:{row.session}:{row.fired + 1}"
            self._state.failures.take(
                Failure(reason, message, row.lineage, row.session, "", 0, reason, text, body=row.body)
            )
        self._move_on(entry)

    def _move_on(self, entry: _Entry) -> None:
        """To the next time, or away."""
        row, writes = entry.row, self._state.writes
        entry.settled = False
        self._unhandled.pop(row.id, None)
        at = self._next(row, self._state.wall())
        if at is None or (row.until is not None and at > row.until):
            self._take_out(entry)
            self._remember(row)
            writes.add(DropSchedule(row.id))
            return
        entry.row = replace(row, at=at)
        writes.add(PutSchedule(entry.row))
        self._arm(entry)

    def _next(self, row: ScheduleRow, wall: int) -> int | None:
        """The next time; of those that have passed meanwhile the last one, once, or none of them."""
        at = following(row, row.at)
        if at is None or at > wall:
            return at
        due = latest(row, wall)
        if row.misfire == "skip" or wall - due > self._grace:
            return following(row, wall)
        return due

    def _arm(self, entry: _Entry) -> None:
        entry.state = _Is.ARMED
        self._places.put(entry.row.at, entry)

    def _take_out(self, entry: _Entry) -> None:
        if self._entries.get(entry.row.id) is entry:
            del self._entries[entry.row.id]
            self._unhandled.pop(entry.row.id, None)
            self._places.drop(entry)

    def _remember(self, row: ScheduleRow) -> None:
        """For a client that asks again, for the answer went with its link."""
        self._over[row.id] = row.created
        while len(self._over) > REMEMBERED:
            self._over.popitem(last=False)

    def statistics(self) -> dict[str, Any]:
        """How many wait and fire now, and what has become of the others."""
        states = Counter(entry.state for entry in self._entries.values())
        return {
            "scheduled": len(self._entries),
            "schedules_firing": states[_Is.FIRING],
            "schedules_unhandled": len(self._unhandled),
            **{
                name: self.counters[name]
                for name in (
                    "schedules_fired_total",
                    "schedules_missed_total",
                    "schedules_cancelled",
                    "schedules_set_aside",
                )
            },
        }

    def validate(self) -> None:
        for id_, entry in self._entries.items():
            assert entry.row.id == id_
            armed = entry.state is _Is.ARMED and entry.leaving is None
            assert (entry in self._places) == armed, id_
            unhandled = entry.state is _Is.UNHANDLED and entry.leaving is None
            assert (id_ in self._unhandled) == unhandled, id_
        assert self._unhandled.keys() <= self._entries.keys()
        assert self._places.held <= 2 * len(self._entries) + FEW


def _check(row: ScheduleRow) -> None:
    """Raises what shows that nothing can be done with the row."""
    if not row.id or not row.lineage or not row.session:
        raise InvalidSchedule("id, lineage and session are texts, and none of them is empty")
    if row.misfire not in ("fire", "skip"):
        raise InvalidSchedule(f"misfire={row.misfire!r} is neither 'fire' nor 'skip'")
    if row.every is not None and row.cron is not None:
        raise InvalidSchedule("it recurs by `every` or by `cron`, not by both")
    stamped_again(row.body, row.at)
    if recurs(row):
        following(row, row.at)
