"""What an earlier life of the router had of producers that have not come back yet. Pure.

Their lines wait for them, so that what they send again is recognised; so do commands of theirs of which
nobody knows how far they have come. After a client's lease nobody is waited for any more.
"""

from __future__ import annotations

from math import inf

from llmgine.actors.bus import wire
from llmgine.actors.bus.router.ends import Ends
from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.records import ClientState, ProducerLine, Record
from llmgine.actors.bus.router.sequences import Sequences
from llmgine.actors.bus.router.state import RouterState
from llmgine.actors.store.rows import JournalRow

LineKey = tuple[str, int, str]


class Returning:
    """Lines by producer, epoch and session, and the commands that were found in the journal."""

    def __init__(self, state: RouterState, ends: Ends) -> None:
        self._state = state
        self._ends = ends
        self._lines: dict[LineKey, ProducerLine] = {}
        # Until a lease after the start, they may come.
        self.awaited = True
        # Of lines whose producers were given up: what is still open.
        self._left: dict[LineKey, Sequences] = {}
        # Commands that were handed out in an earlier life, until their caller says how old they are.
        self.undecided: dict[Record, Mailbox] = {}
        # All commands that were found, as long as their callers may come back.
        self._commands: dict[Record, Mailbox] = {}

    def __bool__(self) -> bool:
        return bool(self._lines or self._commands)

    # What was found

    def line(self, row: JournalRow, lives: dict[tuple[str, int], ClientState]) -> ProducerLine:
        """The line of a row whose producer is not here; `lives` has those that were made for others."""
        key = row.producer, row.epoch, row.session
        line = self._lines.get(key)
        if line is None:
            life = lives.setdefault(key[:2], ClientState(row.producer, row.epoch, ""))
            line = self._lines[key] = ProducerLine(life, row.session, row.sequence - 1)
        return line

    def command(self, record: Record, mailbox: Mailbox) -> bool:
        """Its caller may come back for it; whether only that caller can say what is to be done."""
        self._commands[record] = mailbox
        handed = record.kept is not None and record.kept.marked
        if handed and not mailbox.subscription.idempotent:
            self.undecided[record] = mailbox
            return True
        return False

    def closed(self, line: ProducerLine) -> None:
        """Nothing of it is open; but who may come back for what is done must find that it is."""
        if not (line.stored or line.results or self.awaited):
            self._lines.pop((line.client.name, line.client.epoch, line.session), None)

    def give_up(self) -> None:
        """Callers that have not come back by now will not."""
        self.awaited = False
        undecided, self.undecided = self.undecided, {}
        for record, mailbox in undecided.items():
            text = f"everything went away while {mailbox.subscription.name!r} had the command in hand"
            mailbox.counters.accepted += 1
            self._ends.fail(mailbox, record, "outcome_unknown", "outcome_unknown", text)
        self._commands.clear()
        self._lines = {key: line for key, line in self._lines.items() if line.stored}

    # Who comes and goes

    def greet(self, client: ClientState, floors: dict[str, int]) -> None:
        """What lies below a caller's floor it has an answer to, and needs no other."""
        for record, mailbox in list(self._commands.items()):
            line = record.head.line
            ours = (line.client.name, line.client.epoch) == (client.name, client.epoch)
            if ours and record.sequence < floors.get(line.session, inf):
                self._drop(record, mailbox)

    def _drop(self, record: Record, mailbox: Mailbox) -> None:
        if mailbox.withdraw(record):
            record.waiting -= 1
        elif mailbox.unqueue(record):
            mailbox.counters.cancelled += 1
        elif self.undecided.pop(record, None) is None:
            return
        del self._commands[record]
        self._state.resolve(record, wire.failed_answer("cancelled", "its caller has an answer already"))
        record.head.line.results.pop(record.sequence, None)
        self._ends.finish(mailbox, record)

    def claim(self, client: ClientState, session: str, received: int, floor: int) -> ProducerLine | None:
        """The line of this life of a producer, which is its own again."""
        key = client.name, client.epoch, session
        line = self._lines.pop(key, None)
        if line is not None:
            line.client, line.received, line.floor = client, received, floor
        elif key in self._left:
            line = ProducerLine(client, session, received)
            line.stored = self._left.pop(key)
        return line

    def leave(self, client: ClientState) -> None:
        """Its life is given up: lines with something open are kept for the case that it comes back."""
        self._left = {key: stored for key, stored in self._left.items() if stored}
        for session, line in client.lines.items():
            if line.stored:
                self._left[client.name, client.epoch, session] = line.stored
