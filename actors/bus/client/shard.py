"""A client's end of one router: connects again and again, and passes on what either side has to say."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import Any

from llmgine.actors.bus import wire
from llmgine.actors.bus.client.calls import Calls
from llmgine.actors.bus.client.outbox import Outbox
from llmgine.actors.bus.client.producer import Producer
from llmgine.actors.bus.client.registration import RouterPeer
from llmgine.actors.bus.errors import AskRefused, BusError, ProtocolViolation, UnsendableMessage
from llmgine.actors.bus.handling.process import Handlers
from llmgine.actors.bus.payload import check_sendable
from llmgine.actors.bus.talk import Talk
from llmgine.actors.link import LinkError, Stream

logger = logging.getLogger(__name__)

# How long to wait before the router is looked for again: after it was not reached, after a break.
_RETRY = 0.2
_PAUSE = 0.01
# How long a router may take to hear to its end what a client says that closes.
_FAREWELL = 2.0


class Shard:
    """One router's stream, made anew after every break, with all that waits for this router."""

    def __init__(
        self, number: int, router: RouterPeer, producer: Producer, handlers: Handlers, *, member_of: str
    ) -> None:
        self.number = number
        self._router = router
        self._producer = producer
        self._handlers = handlers
        self._member_of = member_of
        self.outbox = Outbox(producer.options, producer.room.space)
        self.calls = Calls(producer, self.outbox, self.wake, self.flush)
        self._inbox = handlers.inbox(self.wake)
        self._answers = self._inbox.answers
        self._talk: Talk | None = None
        self._reader: asyncio.Task[None] | None = None
        self._router_life = ""
        self._attach: list[int] = []
        self._attaching: dict[int, list[asyncio.Future[bool]]] = {}
        self._leaving = False
        # That it leaves is still to be said.
        self._goodbye = False
        self._closing = False
        self._questions: dict[int, tuple[str, Any, asyncio.Future[Any]]] = {}
        self._unasked: list[int] = []
        self._numbers = itertools.count(1)

    # Life

    def start(self) -> None:
        """Begin to connect."""
        self.calls.start()
        name = f"bus client, router {self.number}"
        self._reader = asyncio.get_running_loop().create_task(self._serve(), name=name)

    @property
    def connected(self) -> bool:
        """Whether the router has welcomed this client on a stream that still lives."""
        return self.calls.connected

    def leave(self) -> None:
        """Serve no subscription of this router any more; what has not started is given back."""
        self._leaving = self._goodbye = True
        self._tell_attached(self._attach, False)
        self._attach.clear()
        self._inbox.give_back()
        self.wake()

    def flush(self) -> None:
        """Say at once what there is to say."""
        if self._talk is not None:
            self._talk.flush()

    async def close(self) -> None:
        """Say the last word and wait until the router has heard it; nobody is answered any more."""
        self._leaving = self._goodbye = self._closing = True
        talk = self._talk
        if talk is not None:
            talk.finish()
        self.calls.close()
        waiting: list[asyncio.Future[Any]] = [future for _, _, future in self._questions.values()]
        for attaching in self._attaching.values():
            waiting.extend(attaching)
        for future in waiting:
            if not future.done():
                future.set_exception(self._producer.closed_error())
        if self._reader is not None:
            if talk is not None:
                await asyncio.wait({self._reader}, timeout=_FAREWELL)
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)

    # Subscriptions

    async def attached(self, number: int) -> bool:
        """Until the router routes to a subscription of ours; False where it is not ours any more."""
        if self._leaving:
            return False
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        attaching = self._attaching.setdefault(number, [])
        attaching.append(future)
        self._attach.append(number)
        self.wake()
        try:
            return await future
        finally:
            attaching.remove(future)
            if not attaching and self._attaching.get(number) is attaching:
                del self._attaching[number]

    def _tell_attached(self, numbers: list[int], kept: bool) -> None:
        for number in numbers:
            for future in self._attaching.get(number, ()):
                if not future.done():
                    future.set_result(kept)

    def _lost(self, numbers: list[int]) -> None:
        self._tell_attached(numbers, False)
        for number in numbers:
            runner = self._handlers.lose(self._inbox, number)
            if runner is not None:
                logger.info("handler %r is served by another process now, or was removed", runner.record.name)

    # Questions

    async def ask(self, verb: str, body: Any, timeout: float | None) -> Any:
        """The router's answer; asked again after a break. Raises AskRefused, BusError without an answer."""
        check_sendable(body, f"the question {verb!r}", UnsendableMessage)
        limit = self._producer.options.connect_timeout if timeout is None else timeout
        number = next(self._numbers)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._questions[number] = (verb, body, future)
        self._unasked.append(number)
        self.wake()
        try:
            async with asyncio.timeout(limit):
                return await future
        except TimeoutError:
            which = " (bus option connect_timeout)" if timeout is None else ""
            raise BusError(
                f"router {self.number} did not answer {verb!r} within {limit:g} s{which}"
            ) from None
        finally:
            del self._questions[number]

    def _answered(self, number: int, answered: bool, body: Any) -> None:
        if number in self._questions:
            future = self._questions[number][2]
            if not future.done():
                if answered:
                    future.set_result(body)
                else:
                    future.set_exception(AskRefused(*body))

    # The stream

    def wake(self) -> None:
        if self._talk is not None:
            self._talk.wake()

    async def _serve(self) -> None:
        """Connect and talk, again and again."""
        me = self._producer.identity
        while not self._closing:
            try:
                stream = (await self._router.connection()).open(wire.STREAM, self._hello())
            except LinkError as error:
                logger.info("%s cannot reach router %d: %s", me, self.number, error)
                await asyncio.sleep(_RETRY)
                continue
            self._talk = Talk(stream, self._next_message)
            try:
                await self._listen(stream, self._talk)
            except (LinkError, ProtocolViolation) as error:
                logger.info("%s lost router %d: %s", me, self.number, error)
            except Exception:
                logger.exception("%s: router %d sent what this client does not understand", me, self.number)
            finally:
                welcomed = self.connected
                self._broken(stream)
            # Who was not let in need not come again at once.
            await asyncio.sleep(_PAUSE if welcomed else _RETRY)

    def _hello(self) -> dict[str, Any]:
        # They travel with the hello.
        self._attach.clear()
        self._goodbye = False
        return {
            "client": self._producer.identity,
            "epoch": self._producer.epoch,
            "incarnation": self._router_life,
            "lines": self.outbox.hello(),
            "subscriptions": [] if self._leaving else list(self._inbox.queues),
            "member_of": self._member_of,
        }

    def _broken(self, stream: Stream) -> None:
        if self._talk is not None:
            self._talk.close()
            self._talk = None
        stream.reset("left")
        self.calls.broken()
        self._inbox.link_lost()
        self._unasked = list(self._questions)

    async def _listen(self, stream: Stream, talk: Talk) -> None:
        received = talk.received

        def take(message: Any) -> None:
            said = received(message)
            if said is not None:
                self._take(said)

        # Whatever gives this client something to say wakes the talk by itself.
        await stream.each(take)

    def _take(self, said: list[Any]) -> None:
        match said[0]:
            case wire.DELIVER:
                self._inbox.deliver(said[1], said[2])
                if self._leaving:
                    self._inbox.give_back()
            case wire.ADMITTED:
                self.calls.admitted(said[1], said[2])
            case wire.SETTLED:
                self.calls.settled(said[1])
            case wire.RESULT:
                self.calls.results(said[1])
            case wire.RESUME:
                self._inbox.verdict(said[1], said[2], said[3])
            case wire.ABORT:
                self._inbox.abort(said[1], said[2])
            case wire.ATTACHED:
                self.calls.table_at(said[2])
                self._tell_attached(said[1], True)
            case wire.LOST:
                self._lost(said[1])
            case wire.ANSWER:
                self._answered(said[1], said[2], said[3])
            case wire.WELCOME:
                _, life, serial, received = said
                self.calls.welcome(received, serial, again=life != self._router_life)
                self._router_life = life
                self.wake()
            case code:
                raise ProtocolViolation(f"unknown message code {code!r}")

    def _next_message(self) -> Any | None:
        """What goes to the router next: answers first, for they make room."""
        calls = self.calls
        if not calls.connected:
            return None
        if self._goodbye:
            # Before anything is given back: the router must not hand it out here again.
            self._goodbye = False
            return [wire.ATTACH, []]
        message = self._answers.take() or calls.next_message()
        if message is not None:
            return message
        if self._attach:
            numbers, self._attach = self._attach, []
            return [wire.ATTACH, numbers]
        return self._question() if self._unasked else None

    def _question(self) -> Any | None:
        while self._unasked:
            number = self._unasked.pop(0)
            if number in self._questions:
                verb, body, _ = self._questions[number]
                return [wire.ASK, number, verb, body]
        return None
