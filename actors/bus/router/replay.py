"""Runs dead letters again for the handler that failed, so many a second; a letter goes when that succeeds."""

from __future__ import annotations

from collections import OrderedDict, deque
from functools import partial
from typing import TYPE_CHECKING, Any

from llmgine.actors.bus.router.questions import Question
from llmgine.actors.bus.router.records import Origin
from llmgine.actors.store.coding import row_from_wire
from llmgine.actors.store.operations import DropLetters, PutLetter
from llmgine.actors.store.rows import LetterRow

if TYPE_CHECKING:
    from llmgine.actors.bus.router.mailbox import Mailbox
    from llmgine.actors.bus.router.state import RouterState

# Letters that wait for their replay; whoever asks for more is told to come again.
WAITING = 1_000
# Answers that are remembered for those who ask again, for the first answer went with their link.
REMEMBERED = 1_000


class _Replay:
    """One letter on its way once more, and everybody who waits for the end of it."""

    __slots__ = ("questions", "row", "token")

    def __init__(self, row: LetterRow, token: str, question: Question) -> None:
        self.row = row
        self.token = token
        self.questions = [question]


class Replays:
    """The router's part of `replay`; its verb takes `{"letter": row, "token": of the request}`."""

    def __init__(self, state: RouterState) -> None:
        self._state = state
        self._waiting: deque[_Replay] = deque()
        self._under_way: dict[str, _Replay] = {}
        self._answers: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._next = 0.0
        self._timed = False
        self._sequence = 0
        state.verbs["replay"] = self._ask

    def __len__(self) -> int:
        return len(self._under_way)

    def _ask(self, question: Question) -> None:
        try:
            row: LetterRow = row_from_wire(LetterRow, question.body["letter"])
            token = str(question.body["token"])
        except (KeyError, TypeError, ValueError, IndexError) as error:
            question.refuse("invalid", f"not a dead letter: {error!r}")
            return
        known = self._under_way.get(row.id)
        if known is not None:
            known.questions.append(question)
        elif token in self._answers:
            question.answer(self._answers[token])
        elif row.key and self._mailbox(row) is None:
            question.refuse("no_handler", _gone(row))
        elif len(self._waiting) >= WAITING:
            question.refuse("busy", f"{WAITING} dead letters wait for their replay already; try again later")
        else:
            replay = self._under_way[row.id] = _Replay(row, token, question)
            self._waiting.append(replay)
            self._go_on()

    def _mailbox(self, row: LetterRow) -> Mailbox | None:
        record = self._state.table.by_key(row.key)
        return self._state.mailboxes.get(record.number) if record is not None else None

    def _go_on(self) -> None:
        """The next one, as soon as the rate allows it."""
        if self._waiting and not self._timed:
            self._timed = True
            self._state.timers.at(max(self._next, self._state.now), self._start_next)

    def _start_next(self) -> None:
        state = self._state
        self._timed = False
        replay = self._waiting.popleft()
        self._next = max(self._next, state.now - _LAG) + 1 / state.options.replay_rate
        self._start(replay)
        self._go_on()

    def _start(self, replay: _Replay) -> None:
        state, row = self._state, replay.row
        mailbox = self._mailbox(row) if row.key else None
        if row.key and mailbox is None:
            self._refuse(replay)
            return
        self._sequence += 1
        state.failures.replaying[row.id] = row
        origin = Origin(
            producer=f"replay:{state.incarnation}",
            epoch=1,
            session=row.session,
            sequence=self._sequence,
            lineage=row.lineage,
            body=row.body,
            only=mailbox,
            replay_of=row.id,
            command=row.command,
            on_settled=partial(self._settled, replay),
        )
        if not state.originate(origin):
            state.failures.replaying.pop(row.id, None)
            self._refuse(replay)

    def _refuse(self, replay: _Replay) -> None:
        del self._under_way[replay.row.id]
        for question in replay.questions:
            question.refuse("no_handler", _gone(replay.row))

    def _settled(self, replay: _Replay, success: bool) -> None:
        """Its handler is done with it: the letter goes, or has one attempt more."""
        state, row = self._state, replay.row
        now = state.failures.replaying.pop(row.id, row)
        if success:
            answer = {"handled": True, "attempts": row.attempts + 1, "text": ""}
            state.writes.add(DropLetters((row.id,)), partial(self._answer, replay, answer))
            return
        if not row.key:
            # Each of its handlers that failed has a letter of its own now.
            answer = {"handled": False, "attempts": row.attempts + 1, "text": "a handler failed again"}
            state.writes.add(DropLetters((row.id,)), partial(self._answer, replay, answer))
            return
        if now is row:
            removed = self._mailbox(row) is None
            text = _gone(row) if removed else "its mailbox did not keep it, or its handler was removed"
            self._answer(replay, {"handled": False, "attempts": row.attempts, "text": text})
            return
        text = f"{now.errors[-1][0]}: {now.errors[-1][1]}"
        answer = {"handled": False, "attempts": now.attempts, "text": text}
        state.writes.add(PutLetter(now), partial(self._answer, replay, answer))

    def _answer(self, replay: _Replay, answer: dict[str, Any]) -> None:
        self._under_way.pop(replay.row.id, None)
        self._answers[replay.token] = answer
        while len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        for question in replay.questions:
            question.answer(answer)

    def validate(self) -> None:
        assert len(self._waiting) <= WAITING
        assert len(self._answers) <= REMEMBERED
        assert {one.row.id for one in self._waiting} <= self._under_way.keys()
        assert self._state.failures.replaying.keys() <= self._under_way.keys()


# How far a late tick may catch up with the rate.
_LAG = 0.1


def _gone(row: LetterRow) -> str:
    if not row.key:
        return "nobody handles it yet; register a handler for its class and replay it again"
    return f"the handler {row.handler!r} is not registered any more; register it and replay the letter again"
