"""A session as it lives in its process: what it answers on links, and how it goes to sleep and ends.

Each turn lives by itself: readers come and go, by turn and offset, and a turn goes on whether anybody
reads or not. A submit with an id that is known attaches instead. What ended long ago is answered from
the store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from llmgine.actors.link import LinkBroken, Stream, StreamHandler
from llmgine.actors.sessions.client.asking import ACCEPTED, REFUSED
from llmgine.actors.sessions.context.search import search
from llmgine.actors.sessions.errors import SessionMoved, UnknownTurn, error_to_wire
from llmgine.actors.sessions.hosting.approvals import ApprovalDesk
from llmgine.actors.sessions.hosting.live import LiveTurn
from llmgine.actors.sessions.hosting.queue import TurnQueue
from llmgine.actors.sessions.hosting.serving import HandlerService
from llmgine.actors.sessions.journal.keeping import SessionStore
from llmgine.actors.sessions.journal.loading import last_event
from llmgine.actors.sessions.journal.records import ContextChanged
from llmgine.actors.sessions.journal.writing import StoreJournal
from llmgine.actors.sessions.running.steps import Conversation
from llmgine.actors.sessions.turns.events import TurnReset, to_wire
from llmgine.actors.sessions.turns.turn import TurnRequest
from llmgine.actors.store import StoreError
from llmgine.providers.contracts import Message
from llmgine.providers.errors import InvalidRequest, LlmgineError

log = logging.getLogger(__name__)

# How long handlers of a session that goes to sleep may still run; none did when it was looked at.
_HANDLERS = 1.0

KINDS = (
    "turn.submit",
    "turn.attach",
    "turn.result",
    "turn.cancel",
    "turn.steer",
    "session.steer",
    "session.history",
    "session.search",
    "session.note",
    "session.notes",
    "session.describe",
)

Answer = Callable[[Stream], Awaitable[None]]


class SessionHost:
    """Serves one conversation; `handlers()` is what its actor's endpoint listens with.

    `on_fenced` is called where another process has the session by now; this one has stopped then.
    """

    def __init__(
        self,
        conversation: Conversation,
        queue: TurnQueue,
        journal: StoreJournal,
        store: SessionStore,
        epoch: int,
        approvals: ApprovalDesk,
    ) -> None:
        self.conversation = conversation
        self.session_id = conversation.session_id
        self.epoch = epoch
        self.queue = queue
        self.approvals = approvals
        # Set by whoever connects it to the bus.
        self.own: HandlerService | None = None
        self.on_fenced: Callable[[], None] = lambda: None
        self._journal = journal
        self._store = store
        self._readers: set[object] = set()
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._served = 0
        self._gone: str | None = None
        self._leaving: asyncio.Task[None] | None = None

    def handlers(self) -> Mapping[str, StreamHandler]:
        """The kinds of stream that a session serves."""
        return dict.fromkeys(KINDS, self.serve)

    async def serve(self, stream: Stream) -> None:
        """Takes the request, says so or why not, then answers; a reader that has gone is no failure."""
        reader = object()
        self._readers.add(reader)
        self._served += 1
        self._quiet.clear()
        try:
            try:
                answer = await self._take(stream.kind, stream.header)
            except LlmgineError as error:
                await stream.send([REFUSED, error_to_wire(error)])
                return
            await stream.send([ACCEPTED, self.epoch])
            await answer(stream)
        except LinkBroken:
            return
        finally:
            self._readers.discard(reader)
            if not self._readers:
                self._quiet.set()

    def describe(self) -> dict[str, Any]:
        """The session as it stands."""
        shared, running = self.conversation, self.queue.running
        return {
            "session": self.session_id,
            "model": shared.model,
            "tools": list(shared.toolset.tools),
            "mcp": shared.toolset.mcp.describe(),
            "messages": len(shared.context),
            "approvals": list(self.approvals.waiting),
            "running": None if running is None else running.request.turn_id,
            "waiting": len(self.queue.waiting),
            "turns": dict(self.queue.counts),
            "abandoned_threads": shared.toolset.abandoned,
            "healthy": self.healthy,
            "closing": self.closing,
            "epoch": self.epoch,
            "damage": self._journal.state.damage and self._journal.state.damage[1],
        }

    @property
    def is_kept(self) -> bool:
        """Whether what happens here is written down; where it cannot be, another process does better."""
        return not self._journal.broken

    @property
    def healthy(self) -> bool:
        """Whether the session's tools leave its process well."""
        return self.conversation.toolset.healthy

    @property
    def closing(self) -> bool:
        """Whether it takes no more turns."""
        return self.queue.closing is not None

    # Its life

    @property
    def idle(self) -> bool:
        """Whether nothing runs, waits or is read; a turn that waits for an approval is at rest."""
        if self._readers or not (self.queue.is_idle and self.approvals.at_rest):
            return False
        return self.own is None or self.own.idle

    async def passivate(self) -> bool:
        """Writes down what the session is and serves it no more; False where that cannot be now.

        Whoever asks after that is told that it has moved, and finds it where it wakes.
        """
        if not self.idle or self._gone is not None:
            return False
        served = self._served
        if self.own is not None:
            # First, so that what comes for them from now on waits, and wakes the session.
            await self.own.close(_HANDLERS)
        try:
            if self._journal.has_grown:
                self._journal.snapshot()
            await self._journal.flush()
            sleeps = self.idle and self._served == served
        except (StoreError, SessionMoved) as error:
            log.warning("session %s is not kept: %s", self.session_id, error)
            # It goes on from what is kept; here nothing more ever would be.
            sleeps = self._journal.broken and self.idle and self._served == served
        if sleeps:
            await self.leave("it sleeps")
        elif self.own is not None and self._gone is None:
            await self.own.open()
        return sleeps

    def look_for_answers(self, approval: str | None = None) -> bool:
        """An approval was answered, or any; False where none of that id is waited for here, or no longer."""
        return self._gone is None and self.approvals.look(approval)

    async def stay(self) -> None:
        """Notes that the session outlives its last driver, and its runtime."""
        row = await self._store.session(self.session_id)
        if row is not None:
            self._journal.put(record={**row.record, "stay": True})
            await self._journal.flush()

    async def leave(self, reason: str) -> None:
        """Stops at once where it stands; turns that have not ended go on where the session wakes."""
        if self._gone is None:
            self._gone = reason
            self._journal.close()
            if self.own is not None:
                await self.own.close(0.0)
            await self.queue.leave(f"session {self.session_id!r} is not in this process any more: {reason}")
            await self.approvals.stop()
            await self.conversation.toolset.close()

    async def end(self, reason: str, grace: float) -> bool:
        """Takes no more turns, lets those that were taken on end within `grace` seconds, cancels the rest.

        Returns whether it is closed in the store; readers have their turns' last events then.
        """
        await self.queue.end(reason, grace)
        await self.approvals.stop()
        await self.conversation.toolset.close()
        try:
            self._journal.snapshot()
            self._journal.put(state="closed", pending=0)
            await self._journal.flush()
            kept = True
        except (StoreError, SessionMoved) as error:
            log.warning("the end of session %s is not kept: %s", self.session_id, error)
            kept = False
        with suppress(TimeoutError):
            async with asyncio.timeout(max(1.0, grace)):
                await self._quiet.wait()
        return kept

    def fenced(self) -> None:
        """Another process has the session: nothing that happens here counts any more."""
        if self._leaving is None:
            log.warning("session %s went on in another process", self.session_id)
            self._leaving = asyncio.create_task(
                self.leave("another process has it"), name=f"leave {self.session_id}"
            )
            self.on_fenced()

    # What its own handlers do

    async def submit_own(self, request: TurnRequest) -> None:
        """Returns once the turn is taken on for good; does nothing where one of its id was."""
        if self._gone is not None:
            raise SessionMoved(f"session {self.session_id!r} is not in this process: {self._gone}")
        if self.queue.get(request.turn_id) is None and await self._ended(request.turn_id) is None:
            self.queue.submit(request)
        await self._journal.flush()

    def history(self) -> tuple[Message, ...]:
        """The conversation as it stands."""
        return self.conversation.context.view()

    # What others ask for

    async def find(self, turn_id: str) -> LiveTurn | list[Any]:
        """The turn of that id, or how it ended, as wire; UnknownTurn where it never was, or is let go of."""
        found = self.queue.get(turn_id) or await self._ended(turn_id)
        if found is None:
            raise UnknownTurn(
                f"session {self.session_id!r} knows no turn {turn_id!r}, or has let go of it: the store "
                "keeps the last ones of a session"
            )
        return found

    async def _ended(self, turn_id: str) -> list[Any] | None:
        """The last event of a turn that ended before this process, or long ago."""
        return last_event(await self._store.turn(self.session_id, turn_id))

    async def _take(self, kind: str, header: Any) -> Answer:
        asked = header.get("session") if isinstance(header, dict) else None
        if self._gone is not None or not isinstance(header, dict) or asked != self.session_id:
            raise SessionMoved(f"session {asked!r} is not in this process{self._gone and ': ' + self._gone}")
        match kind:
            case "turn.submit":
                return await self._on_submit(header)
            case "turn.attach":
                return _follow(await self.find(str(header.get("turn_id"))), header)
            case "turn.result":
                return _follow(await self.find(str(header.get("turn_id"))), {"reply": "result"})
            case "turn.cancel":
                return await self._on_cancel(str(header.get("turn_id")))
            case "turn.steer":
                return await self._on_steer(await self.find(str(header.get("turn_id"))), header)
            case "session.steer":
                return await self._on_steer(self.queue.running, header)
            case "session.search":
                found = search(self.conversation.context.view(), str(header["query"]), int(header["limit"]))
                return _say(*(one.model_dump_json().encode() for one in found))
            case "session.note":
                return await self._on_note(header)
            case "session.notes":
                return _say(
                    {number: dict(notes) for number, notes in self.conversation.context.notes.items()}
                )
            case "session.history":
                return _say(*(part.model_dump_json().encode() for part in self.conversation.context.view()))
            case _:
                return _say(self.describe())

    async def _on_submit(self, header: dict[str, Any]) -> Answer:
        try:
            request = TurnRequest.from_wire(header)
        except (ValidationError, KeyError, TypeError) as error:
            raise InvalidRequest(f"this is no turn: {error}") from None
        if header.get("again") and self.queue.get(request.turn_id) is None:
            # It may have been taken on, and have ended, in another process.
            ended = await self._ended(request.turn_id)
            if ended is not None:
                return _follow(ended, header)
        known = self.queue.get(request.turn_id)
        turn = known or self.queue.submit(request)
        if header.get("reply") == "none":
            await self._durable(turn, taken_on=known is None)
        return _follow(turn, header)

    async def _durable(self, turn: LiveTurn, *, taken_on: bool) -> None:
        """Returns once a turn that nobody waits for will not be lost.

        One that was just taken on is taken back where it may be; one that was known is somebody else's, too.
        """
        try:
            await self._journal.flush()
        except StoreError:
            if taken_on:
                self.queue.cancel(turn, "the turn could not be kept")
            raise

    async def _on_cancel(self, turn_id: str) -> Answer:
        found = await self.find(turn_id)
        if isinstance(found, list):
            return _say(False)
        cancelled = self.queue.cancel(found)
        await self._journal.flush()
        return _say(cancelled)

    async def _on_steer(self, turn: LiveTurn | list[Any] | None, header: dict[str, Any]) -> Answer:
        """Told once it is kept; a turn that is not here any more has ended."""
        message = Message.model_validate_json(header["message"])
        if message.role != "user":
            raise InvalidRequest(f"what is said to a turn is a message of role user, not {message.role}")
        taken = isinstance(turn, LiveTurn) and self.queue.steer(turn, str(header["steer"]), message)
        if taken:
            await self._journal.flush()
        return _say(taken)

    async def _on_note(self, header: dict[str, Any]) -> Answer:
        context = self.conversation.context
        entry = context.note(int(header["message"]), str(header["key"]), header["value"])
        self._journal.append(ContextChanged("", entry))
        await self._journal.flush()
        return _say(True)


def _say(*messages: Any) -> Answer:
    async def answer(stream: Stream) -> None:
        for message in messages:
            await stream.send(message)

    return answer


def _follow(turn: LiveTurn | list[Any], header: dict[str, Any]) -> Answer:
    """Tells of a turn what its reader wants; of one whose events are gone, how it ended."""
    reply, offset = header.get("reply", "events"), int(header.get("from", 0))

    async def answer(stream: Stream) -> None:
        if reply == "none":
            return
        if isinstance(turn, list):
            if reply == "events" and offset > 0:
                await stream.send([0, to_wire(TurnReset("its events are gone; this is how it ended"))])
            await stream.send([1, turn])
        elif reply == "result":
            await stream.send(await turn.ended())
            stream.flush()
        else:
            await turn.follow(stream.send, offset, header.get("epoch"))

    return answer
