"""The inbox against a tiny router that knows what it has handed out, and what came of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmgine.actors.bus import BusOptions, SubscriptionRecord, wire
from llmgine.actors.bus.handling.answers import Kept
from llmgine.actors.bus.handling.inbox import Inbox
from llmgine.actors.bus.handling.jobs import Job
from llmgine.actors.bus.handling.queue import Places

PLACES = 2
SESSIONS = ("s1", "s2", "BUS")


class Message:
    """One published event, as its router sees it."""

    def __init__(self, number: int, session: str, sequence: int) -> None:
        self.number = number
        self.session = session
        self.sequence = sequence
        self.attempt = 1
        self.suspect = False
        self.over = False


class InboxMachine:
    """Deliveries, successes, failures, verdicts and breaks in any order."""

    def __init__(self, *, strict: bool) -> None:
        order: Any = "strict" if strict else "session"
        self.strict = strict
        record = SubscriptionRecord("event", "E", "h", "c", 1, number=1, concurrency=PLACES, order=order)
        options = BusOptions()
        self.inbox = Inbox(Kept(options.kept_result_bytes), self._nothing, self._nothing, self._nothing)
        self.places = Places(record, options)
        self.queue = self.inbox.add(1, self.places)
        # By session, in order of publication.
        self.published: dict[str, list[Message]] = {session: [] for session in SESSIONS}
        self.count = 0
        self.entry = 0
        self.out: dict[int, Message] = {}
        self.failed: dict[int, Message] = {}
        # Entries of verdicts whose end mark has not come, with what they hold back.
        self.recalls: dict[int, str | None] = {}
        self.running: dict[Job, Message] = {}
        self.succeeded: dict[Message, int] = {}
        self.tried: set[tuple[Message, int]] = set()

    def laned(self, session: str) -> bool:
        return self.strict or session != "BUS"

    def _nothing(self, *_: Any) -> None:
        """Whoever runs handlers looks by itself."""

    # The router

    def publish(self, session: str, count: int) -> None:
        row = self.published[session]
        for _ in range(count):
            self.count += 1
            row.append(Message(self.count, session, len(row) + 1))

    def hand_out(self, session: str, count: int) -> None:
        if session in self.recalls.values() or None in self.recalls.values():
            return
        busy = {id(one) for one in (*self.out.values(), *self.failed.values())}
        waiting = [one for one in self.published[session] if not one.over and id(one) not in busy]
        for message in waiting[:count]:
            if (
                self.laned(session)
                and message.attempt > 1
                and any(one.session == session for one in self.out.values())
            ):
                return
            self.entry += 1
            self.out[self.entry] = message
            run = ["p", 1, session, "E", message.sequence, 1, 0, 0, None, [b""]]
            delivery = [1, self.entry, 0, 1, message.attempt, message.suspect, False, 0]
            self.inbox.deliver([run], [delivery])

    def read_answers(self) -> None:
        while (message := self.inbox.answers.take()) is not None:
            if message[0] == wire.DONE:
                for _, first, last in message[1]:
                    for entry in range(first, last + 1):
                        self.out.pop(entry).over = True
                continue
            for _, entry, code, detail in message[1]:
                self._outcome(entry, code, detail)

    def _outcome(self, entry: int, code: int, detail: Any) -> None:
        if code == wire.FAILED:
            self.failed[entry] = self.out.pop(entry)
            assert detail[3] >= self.failed[entry].attempt
            self.failed[entry].attempt = detail[3]
            return
        assert code == wire.RETURNED
        if entry in self.recalls:
            del self.recalls[entry]
            return
        message = self.out.pop(entry)
        assert message not in self.running.values()

    def judge(self, which: int, recall: int) -> None:
        if not self.failed:
            return
        entry = sorted(self.failed)[which % len(self.failed)]
        message = self.failed.pop(entry)
        if recall == wire.KEEP:
            message.over = True
        else:
            message.attempt += 1
            message.suspect = False
            self.recalls[entry] = message.session if recall == wire.LANE else None
        self.inbox.verdict(1, entry, recall)

    def break_link(self, *, forget: bool) -> None:
        """The link breaks; where the router died it does not know how often anything was tried."""
        self.inbox.link_lost()
        for message in (*self.out.values(), *self.failed.values()):
            message.suspect = True
        for message in (one for row in self.published.values() for one in row) if forget else ():
            message.attempt, message.suspect = 1, True
        self.out.clear()
        self.failed.clear()
        self.recalls.clear()

    # The handler

    def start(self) -> None:
        job = self.queue.start() if self.places.taken < PLACES else None
        if job is None:
            return
        self.places.taken += 1
        self._started(job)

    def _started(self, job: Job) -> None:
        assert not self.failed, "it started while a verdict was awaited"
        message = self.published[job.head.session][job.sequence - 1]
        assert job.passage.attempt == message.attempt
        assert not message.over
        assert (message, message.attempt) not in self.tried, "one attempt made twice"
        self.tried.add((message, message.attempt))
        if self.laned(message.session):
            lane = [one for one in self.running.values() if one.session == message.session]
            assert not lane, "two of one lane at a time"
            before = self.published[message.session][: message.sequence - 1]
            assert all(one.over or one in self.succeeded for one in before), "out of order"
        self.running[job] = message
        self.inbox.started(job, 0.0)

    def end(self, which: int, success: bool, go_on: bool = False) -> None:
        if not self.running:
            return
        job = list(self.running)[which % len(self.running)]
        message = self.running.pop(job)
        self.inbox.ended(job)
        if success:
            self.succeeded[message] = self.succeeded.get(message, 0) + 1
            self.inbox.handled(job)
        else:
            detail = ["handler", "E", "", job.passage.attempt, 0.0, False]
            self.inbox.answer(job, wire.FAILED, detail)
        following = self.queue.following(job) if go_on else None
        if following is not None:
            self._started(following)
        else:
            self.queue.ended(job)
            self.places.taken -= 1

    def holds(self) -> None:
        self.inbox.validate()
        assert all(count == 1 for count in self.succeeded.values()), "handled twice"
        assert self.inbox.running == len(self.running)
        assert sum(line.running for line in self.places.lines) == self.queue.count + len(self.running)

    def rest(self) -> None:
        """Everything comes to rest, each message handled once or given up."""
        for _ in range(20 + 4 * self.count):
            while self.running:
                self.end(0, True)
            self.read_answers()
            while self.failed:
                self.judge(0, wire.KEEP)
            self.read_answers()
            for session in SESSIONS:
                self.hand_out(session, 4)
            while self.places.taken < PLACES and self.queue.may_start:
                self.start()
        messages = [one for row in self.published.values() for one in row]
        assert all(one.over for one in messages), [one.number for one in messages if not one.over]
        assert (self.out, self.queue.count, self.running) == ({}, 0, {})


@pytest.mark.parametrize("strict", [False, True])
@settings(max_examples=100)
@given(seed=st.integers(0, 2**32))
def test_every_delivery_is_answered_once_and_in_order(strict: bool, seed: int) -> None:
    """Whatever fails and breaks: lanes keep their order, nothing starts unjudged, all is handled once."""
    choose = random.Random(seed)
    machine = InboxMachine(strict=strict)
    steps: list[tuple[int, Callable[[], None]]] = [
        (2, lambda: machine.publish(choose.choice(SESSIONS), choose.randint(1, 3))),
        (4, lambda: machine.hand_out(choose.choice(SESSIONS), choose.randint(1, 4))),
        (6, machine.start),
        (5, lambda: machine.end(choose.randrange(9), choose.random() < 0.7, choose.random() < 0.5)),
        (4, machine.read_answers),
        (3, lambda: machine.judge(choose.randrange(9), choose.choice((wire.KEEP, wire.LANE, wire.ALL)))),
        (1, lambda: machine.break_link(forget=choose.random() < 0.5)),
    ]
    weights, actions = zip(*steps, strict=True)
    for action in choose.choices(actions, weights, k=120):
        action()
        machine.holds()
    machine.rest()
