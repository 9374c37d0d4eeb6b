"""One process's end of its talk with one router: what the client's asynchronous shell does, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.client.outbox import Entry, Outbox
from tests.simulation.network import Link
from tests.simulation.router import RouterHost

if TYPE_CHECKING:
    from tests.simulation.process import Process


class End:
    """An outbox and an inbox, connected again and again."""

    def __init__(self, process: Process, shard: int) -> None:
        self.process = process
        self.world = process.world
        self.shard = shard
        self.outbox = Outbox(self.world.plan.options, process.space)
        self.inbox = process.handling.inbox()
        self.link: Link | None = None
        self.router_life = ""
        self.connected = False
        self._attach: list[int] = []
        self._confirmed: list[list[Any]] = []
        self._cancelled: list[tuple[str, int]] = []
        self._pumping = False
        # Questions without an answer, and those of them that this link has carried.
        self._questions: dict[int, tuple[str, Any, Callable[[bool, Any], None]]] = {}
        self._asked: set[int] = set()
        self._number = 0
        self._leaving = False
        # That it leaves is still to be said.
        self._goodbye = False

    # The link

    def connect(self) -> None:
        scheduler = self.world.scheduler
        router = self.world.routers[self.shard]
        if not router.alive:
            scheduler.after(0.01, self.process, self.connect)
            return
        seen: dict[str, Any] = {}
        link = Link(
            self.world.network,
            up=lambda message: router.receive(link, seen["client"], message),
            down=lambda message: self._receive(link, message),
            lost_above=lambda: router.lost(link, seen.get("client")),
            lost_below=lambda: self._lost(link),
        )
        self.link = link
        link.up.on_credit = self.wake
        self._attach.clear()
        self._asked.clear()
        self._goodbye = False
        hello = {
            "client": self.process.name,
            "epoch": self.process.epoch,
            "incarnation": self.router_life,
            "lines": self.outbox.hello(),
            "subscriptions": [] if self._leaving else list(self.process.registered),
            "member_of": self.process.member_of,
        }
        scheduler.after(scheduler.between(0.0002, 0.003), self.process, self._open, link, router, hello, seen)

    def _open(self, link: Link, router: RouterHost, hello: dict[str, Any], seen: dict[str, Any]) -> None:
        if router.alive:
            router.open(link, hello, seen)
        else:
            link.cut()

    def _lost(self, link: Link) -> None:
        if self.link is not link or not self.process.alive:
            return
        self.link = None
        self.connected = False
        self._confirmed.clear()
        self.inbox.link_lost()
        self.world.account.note("link lost", "", f"{self.process.life} to {self.shard}")
        self.world.scheduler.after(self.world.scheduler.between(0.001, 0.02), self.process, self.connect)

    # Out

    def wake(self) -> None:
        if not self._pumping:
            self._pumping = True
            scheduler = self.world.scheduler
            scheduler.after(scheduler.between(0, 0.0003), self.process, self._pump)

    def _pump(self) -> None:
        self._pumping = False
        link = self.link
        while link is not None and self.connected and link.up.is_open:
            message = self._next_message()
            if message is None:
                return
            link.up.send(message)

    def _next_message(self) -> Any | None:
        if self._goodbye:
            # Before anything is given back: the router must not hand it out here again.
            self._goodbye = False
            return [wire.ATTACH, []]
        answers = self.inbox.answers.take()
        if answers is not None:
            return answers
        if self._cancelled:
            session, sequence = self._cancelled.pop()
            return [wire.CANCEL, session, sequence]
        if self.outbox.forgotten:
            sessions, self.outbox.forgotten = self.outbox.forgotten, []
            return [wire.FORGET, sessions]
        if self.outbox.has_unsent:
            runs = self.outbox.runs()
            if runs:
                return [wire.PUBLISH, runs]
        if self._confirmed:
            confirmed, self._confirmed = self._confirmed, []
            return [wire.CONFIRM, confirmed]
        if self._attach:
            numbers, self._attach = self._attach, []
            return [wire.ATTACH, numbers]
        for number, (verb, body, _) in self._questions.items():
            if number not in self._asked:
                self._asked.add(number)
                return [wire.ASK, number, verb, body]
        return None

    def ask(self, verb: str, body: Any, on_answer: Callable[[bool, Any], None]) -> None:
        """Asked again after a break, until it is answered."""
        self._number += 1
        self._questions[self._number] = (verb, body, on_answer)
        self.wake()

    def leave(self) -> None:
        """Serve no subscription of this router any more; what has not started is given back."""
        self._leaving = self._goodbye = True
        self._attach.clear()
        self.inbox.give_back()
        self.wake()

    def flush(self) -> None:
        """Say at once what there is to say, as far as the link takes it."""
        self._pump()

    @property
    def has_said_all(self) -> bool:
        """Whether nothing is on its way to the router any more."""
        return self.link is None or self.link.broken or not self.link.up.under_way

    def attach(self, number: int) -> None:
        self._attach.append(number)
        self.wake()

    def cancel(self, session: str, sequence: int) -> None:
        self._cancelled.append((session, sequence))
        self.wake()

    # In

    def _receive(self, link: Link, message: Any) -> None:
        if self.link is not link or not self.process.alive:
            return
        match message[0]:
            case wire.DELIVER:
                self.inbox.deliver(message[1], message[2])
                if self._leaving:
                    self.inbox.give_back()
            case wire.ADMITTED:
                self._admitted(message[1], message[2])
            case wire.SETTLED:
                for session, first, last in message[1]:
                    for entry in self.outbox.settled(session, first, last):
                        self._settled(entry)
            case wire.RESULT:
                for session, sequence, answer in message[1]:
                    self._confirmed.append([session, sequence])
                    for entry in self.outbox.settled(session, sequence, sequence):
                        self._result(entry, answer)
            case wire.WELCOME:
                _, life, serial, received = message
                self.outbox.serial = serial
                again = life != self.router_life
                self.outbox.resume([(session, last) for session, last in received], again=again)
                self.router_life = life
                self.connected = True
            case wire.ATTACHED:
                self.outbox.serial = max(self.outbox.serial, message[2])
                for number in message[1]:
                    self.world.attached(self.process, number, self.shard)
            case wire.LOST:
                for number in message[1]:
                    self.world.account.note("lost", "", f"#{number} at {self.process.life} of {self.shard}")
                    self.inbox.remove(number)
            case wire.ABORT:
                self.inbox.abort(message[1], message[2])
            case wire.ANSWER:
                question = self._questions.pop(message[1], None)
                if question is not None:
                    question[2](message[2], message[3])
            case wire.RESUME:
                self.inbox.verdict(message[1], message[2], message[3])
            case code:
                raise AssertionError(f"a router said {code}")
        self.wake()

    def _admitted(self, ranges: list[Any], serial: int) -> None:
        outbox = self.outbox
        outbox.serial = max(outbox.serial, serial)
        for session, first, last, refused, deferred in ranges:
            if deferred:
                continue
            for entry in outbox.admitted(session, first, last):
                entry.since = max(entry.since, serial)
                if entry.waiter is not None:
                    self.world.account.acknowledged(entry.waiter, tuple(map(tuple, refused or ())))

    def _settled(self, entry: Entry) -> None:
        if entry.waiter is not None:
            self.world.account.settled(entry.waiter)

    def _result(self, entry: Entry, answer: Any) -> None:
        if entry.waiter is not None:
            entry.waiter.settled = True
        if entry.answer is not None:
            self.process.answer(entry.answer, answer)

    # Ends

    @property
    def at_rest(self) -> bool:
        return self.outbox.count == 0 and self.connected and not (self.inbox.answers or self._questions)

    def die(self) -> None:
        if self.link is not None:
            self.link.close_end(above=False)
            self.link = None
