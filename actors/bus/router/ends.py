"""The ends of a message at one of its handlers, and what they set free: priorities, room, the producer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmgine.actors.bus.letters import Reason
from llmgine.actors.bus.router.letters import Failure, failure_of
from llmgine.actors.bus.router.mailbox import Mailbox
from llmgine.actors.bus.router.records import Record
from llmgine.actors.bus.router.state import RouterState
from llmgine.actors.bus.wire import failed_answer


class Ends:
    """Whatever becomes of a message in a mailbox, it ends here, once."""

    def __init__(self, state: RouterState) -> None:
        self._state = state

    def finish(self, mailbox: Mailbox, record: Record, outcome: list[Any] | None = None) -> None:
        """This mailbox is done with the message, whatever the counters say of how."""
        if mailbox.trouble is not None:
            mailbox.trouble.forget(record)
        if mailbox.probing:
            mailbox.probing.pop(record, None)
        if outcome is not None and record.head.wants_result and not record.head.command:
            if record.outcomes is None:
                record.outcomes = []
            record.outcomes.append(outcome)
        if record.kept is None or not self._state.journal.done(mailbox, record):
            record.open -= 1
        if record.stages is not None:
            self.advance(mailbox, record)
        if record.open == 0:
            self._state.settle(record)

    def fail(
        self,
        mailbox: Mailbox,
        record: Record,
        reason: Reason,
        kind: str,
        text: str,
        *,
        attempts: int = 0,
        duration: float = 0.0,
        retryable: bool = False,
    ) -> None:
        """An accepted delivery did not succeed: the one way from failure to what follows from it."""
        failure = self._failure(mailbox, record, reason, kind, text, attempts)
        attempts = failure.attempts
        self._state.failures.take(failure)
        self._state.note("dead letter", mailbox, record, f"{reason}: {text}")
        record.failed = True
        counters = mailbox.counters
        if reason == "expired":
            counters.expired += 1
        elif reason == "cancelled":
            counters.cancelled += 1
        else:
            counters.failed += 1
        if record.head.command:
            answer = failed_answer(kind, text, retryable=retryable, attempts=attempts, duration=duration)
            self._state.resolve(record, answer)
        outcome = [mailbox.subscription.name, False, reason, kind, text, attempts, duration]
        self.finish(mailbox, record, outcome)

    def refuse(
        self, mailbox: Mailbox, record: Record, reason: Reason, text: str, *, letter: bool = True
    ) -> None:
        """The mailbox does not take the message."""
        name = mailbox.subscription.name
        self._lost(mailbox, record, reason, text, letter=letter)
        self._state.note("refused", mailbox, record, f"{reason}: {text}")
        record.refused = [*(record.refused or []), (name, reason)]
        if record.head.command:
            self._state.resolve(record, failed_answer(reason, f"{name}: {text}", retryable=True))
        self.finish(mailbox, record, [name, False, reason, reason, text, 0, 0.0])

    def give_up(self, mailbox: Mailbox, records: Sequence[Record]) -> None:
        """These gave way to newer events, by the mailbox' policy, which has counted them."""
        for record in records:
            if mailbox.subscription.overflow == "coalesce":
                self._coalesce(mailbox, record)
            else:
                self._drop(mailbox, record)

    def _coalesce(self, mailbox: Mailbox, record: Record) -> None:
        """What its handler wants is the latest, so nothing has failed."""
        name, text = mailbox.subscription.name, "a newer event of the same key took its place"
        self._state.counters["coalesced_total"] += 1
        if record.head.replay_of is not None:
            # A dead letter is done with only where its replay was handled.
            record.failed = True
        self._state.note("coalesced", mailbox, record, text)
        self.finish(mailbox, record, [name, False, "coalesced", "coalesced", text, 0, 0.0])

    def _drop(self, mailbox: Mailbox, record: Record) -> None:
        """Only what is durable is kept as a dead letter."""
        name, text = mailbox.subscription.name, "it made room for a newer event"
        self._lost(mailbox, record, "dropped", text, letter=mailbox.durable)
        self._state.note("dropped", mailbox, record, text)
        self.finish(mailbox, record, [name, False, "dropped", "dropped", text, 0, 0.0])

    def _lost(self, mailbox: Mailbox, record: Record, reason: Reason, text: str, *, letter: bool) -> None:
        failure = self._failure(mailbox, record, reason, reason, text, 0)
        record.failed = True
        if letter:
            self._state.failures.take(failure)
        else:
            self._state.failures.note(failure)

    def discard(self, mailbox: Mailbox, record: Record) -> None:
        """The subscription went before its handler was called."""
        if record.head.command and record.kept is not None:
            text = f"the handler {mailbox.subscription.name!r} was removed before it was called"
            self.fail(mailbox, record, "no_handler", "no_handler", text)
            return
        mailbox.counters.discarded += 1
        if record.head.replay_of is not None:
            # Its letter stays.
            record.failed = True
        self._state.note("discarded", mailbox, record, "the handler was removed before it was called")
        if record.head.command:
            text = f"the handler {mailbox.subscription.name!r} was removed before it was called"
            self._state.resolve(record, failed_answer("no_handler", text))
            record.failed = True
        self.finish(mailbox, record, [mailbox.subscription.name, False, "removed", "", "", 0, 0.0])

    def _failure(
        self, mailbox: Mailbox, record: Record, reason: Reason, kind: str, text: str, attempts: int
    ) -> Failure:
        trouble = mailbox.trouble
        tries = trouble.tries.get(record) if trouble is not None else None
        errors: tuple[tuple[str, str, int], ...] = ()
        if tries is not None:
            attempts, errors = max(attempts, tries.attempts), tuple(tries.errors)
        return failure_of(record, mailbox.subscription, reason, kind, text, attempts, errors)

    # Priorities

    def advance(self, mailbox: Mailbox, record: Record) -> None:
        """This handler holds back lower priorities of the message no longer."""
        for stage in record.stages or ():
            if mailbox in stage:
                stage.remove(mailbox)
                break
        stages = record.stages or []
        while record.stage + 1 < len(stages) and not stages[record.stage]:
            self.open_next(record)

    def open_next(self, record: Record) -> None:
        """The next priority's turn, whoever of the present one is left."""
        stages = record.stages
        if stages is None or record.stage + 1 >= len(stages):
            return
        record.stage += 1
        record.opened_at = self._state.now
        for mailbox in list(stages[record.stage]):
            self.queued(mailbox, mailbox.come_up(record))

    def queued(self, mailbox: Mailbox, records: list[Record]) -> None:
        """These have been held back, and may be handed out now."""
        if records:
            if mailbox.trouble is not None:
                self._state.arrived(mailbox, records)
            self._state.mark_ready(mailbox)

    # Room

    def admit_waiting(self, mailbox: Mailbox) -> None:
        """Let in what waits, as far as there is room."""
        if not mailbox.waiting:
            return
        entered, lost = mailbox.let_in()
        for record in entered:
            # It may come to its end at once, and its producer is told first that it was admitted.
            record.open += 1
        if entered and mailbox.trouble is not None:
            self._state.arrived(mailbox, entered)
        # After that, for one may have taken the place of another that came in with it.
        self.give_up(mailbox, lost)
        for record in entered:
            record.open -= 1
            self.entered(record)

    def turn_away(self, mailbox: Mailbox, record: Record, text: str) -> None:
        """It waits for room no longer; its producer is told so before it hears of the end."""
        record.open += 1
        self.refuse(mailbox, record, "overflow", text)
        record.open -= 1
        self.entered(record)

    def entered(self, record: Record) -> None:
        """One mailbox less to wait for."""
        record.waiting -= 1
        if record.waiting == 0:
            self._state.admitted(record)
            if record.open == 0:
                self._state.settle(record)
