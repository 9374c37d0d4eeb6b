"""Dead letters: some are chosen, replayed or discarded at random moments; what is said of each must be so."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any

from llmgine.actors.bus.payload import read_body
from llmgine.actors.store.coding import row_to_wire
from llmgine.actors.store.operations import DropLetters
from llmgine.actors.store.queries import LetterFilter
from llmgine.actors.store.rows import LetterRow

if TYPE_CHECKING:
    from llmgine.actors.bus.handling.jobs import Job
    from llmgine.actors.bus.router.letters import Failure
    from llmgine.actors.bus.subscriptions import SubscriptionRecord
    from tests.simulation.process import Process
    from tests.simulation.router import RouterHost
    from tests.simulation.store import Writer
    from tests.simulation.world import World

_MOST = 5


class Letters:
    """What routers gave up, what was asked for it since, and when: steps of the schedule, by letter."""

    def __init__(self, world: World) -> None:
        self.world = world
        # How often each router's life gave a letter up, and the messages that told of it.
        self._taken: dict[tuple[str, str], int] = {}
        self._news: dict[tuple[str, str], set[str]] = {}
        self._ids: dict[tuple[str, str], str] = {}
        self._rows: dict[str, LetterRow] = {}
        # The latest failure, the latest discard, the latest replay that went well.
        self._failed: dict[str, int] = {}
        self._discarded: dict[str, int] = {}
        self._handled: dict[str, int] = {}
        self._writers: dict[Process, Writer] = {}
        self._replays: Counter[str] = Counter()
        self._tokens = 0

    @property
    def _step(self) -> int:
        return self.world.scheduler.steps

    # Routers

    def taken(self, router: RouterHost, failure: Failure) -> None:
        """A letter is written once for each message and handler, but for what its replays add."""
        replaying = router.core._state.failures.replaying.get(failure.replay_of or "")
        again = replaying is not None and replaying.key == failure.key
        letter = replaying.id if replaying is not None and again else failure.letter
        self._failed[letter] = self._step
        if again:
            return
        self._ids[failure.message, failure.handler] = letter
        life = router.name, letter
        self._taken[life] = self._taken.get(life, 0) + 1
        if self._taken[life] > 1:
            text = f"{router.name} dead-letters {failure.message} twice for {failure.handler!r}"
            raise self.world.account.violation(5, text, self.world.account.by_text.get(failure.message))

    # Handlers

    def started(self, record: SubscriptionRecord, identity: str, job: Job) -> None:
        """A replay reaches the handler that had failed, news tells of a letter that there is."""
        origin, _, router = job.head.producer.partition(":")
        row = self._rows.get(job.head.replay_of or "") if origin == "replay" else None
        if row is not None and row.key and row.key != record.key_text:
            text = f"{record.name} gets the replay of a letter of {row.handler}"
            raise self.world.account.violation(5, text, handler=record.name)
        if origin != "letters":
            return
        letter = str(read_body(job.body).fields["letter"])
        told = self._news.setdefault((router, letter), set())
        told.add(identity)
        if len(told) > self._taken.get((router, letter), 0):
            text = f"{len(told)} events tell of letter {letter} of {router}"
            raise self.world.account.violation(5, text, handler=record.name)

    def ended_well(self, job: Job) -> None:
        if job.head.replay_of is not None:
            self._handled[job.head.replay_of] = self._step

    # What processes ask for

    def act(self, process: Process) -> None:
        """Choose some letters by what they have in common, and have them replayed or discarded."""
        store, choose = self.world.store, self.world.scheduler.random
        if not (store.alive and store.rows.letters):
            return
        like = choose.choice(list(store.rows.letters.values()))
        chosen = choose.choice(
            (
                LetterFilter(handler=like.handler),
                LetterFilter(reason=like.reason),
                LetterFilter(session=like.session, since=like.time),
            )
        )
        rows = [row for row in store.rows.letters.values() if chosen.admits(row)][:_MOST]
        later = self.world.scheduler.between(0, 0.02)
        act = self._discard if choose.random() < 0.3 else self._replay
        self.world.scheduler.after(later, process, act, process, rows)

    def _discard(self, process: Process, rows: list[LetterRow]) -> None:
        ids = tuple(row.id for row in rows)
        asked = self._step
        self._discarded.update(dict.fromkeys(ids, asked))
        self.world.account.note("discarding", "", " ".join(ids))
        writer = self._writers.get(process)
        if writer is None:
            writer = self._writers[process] = self.world.store.writer(process)
        writer.write([DropLetters(ids)], lambda: self._check_gone(ids, asked))

    def _check_gone(self, ids: tuple[str, ...], asked: int) -> None:
        self.world.count("discarded letters")
        for letter in ids:
            self._discarded[letter] = self._step
            if letter in self.world.store.rows.letters and not self._put_since(letter, asked):
                raise self.world.account.violation(5, f"letter {letter} is there after it was discarded")

    def _replay(self, process: Process, rows: list[LetterRow]) -> None:
        for row in rows:
            self._tokens += 1
            self._replays[row.id] += 1
            self._rows[row.id] = row
            self.world.account.note("replaying", row.message, f"{row.id} for {row.handler}")
            body = {"letter": row_to_wire(row), "token": f"{process.life}:{self._tokens}"}
            answered = partial(self._replayed, row, self._step)
            process.ends[self.world.shard_of(row.session)].ask("replay", body, answered)

    def _replayed(self, row: LetterRow, asked: int, said: bool, body: Any) -> None:
        account, letter = self.world.account, row.id
        self._replays[letter] -= 1
        account.note("replayed", row.message, f"{letter} for {row.handler}: {body}")
        if not said:
            if body[0] not in ("no_handler", "busy"):
                raise account.violation(5, f"the replay of {letter} is refused: {body}")
            return
        if not row.key:
            return
        there = letter in self.world.store.rows.letters
        if body["handled"]:
            self.world.count("letters handled")
            if letter not in self._handled:
                raise account.violation(
                    5, f"letter {letter} counts as handled by {row.handler}, which never ran"
                )
            if there and not self._put_since(letter, asked):
                raise account.violation(5, f"letter {letter} is there after it was handled")
        elif not (there or self._removed(letter) or self._is_crowded):
            raise account.violation(1, f"letter {letter} went after its handler had failed again")

    def _put_since(self, letter: str, asked: int) -> bool:
        # A replay that is under way may write it again at any time, and so may who has not heard of it.
        again = self.world.store.put_again.get(letter, -1)
        return bool(self._replays[letter]) or max(self._failed.get(letter, -1), again) >= asked

    # At rest

    @property
    def _is_crowded(self) -> bool:
        """Whether the oldest letters may have made room for newer ones."""
        return self.world.store.most_letters >= self.world.plan.max_letters

    def _removed(self, letter: str) -> bool:
        """Whether somebody has discarded it, or its handler did it at last."""
        return letter in self._discarded or letter in self._handled

    def kept(self, message: str, handler: str) -> bool:
        """Whether this failure is among the letters, or somebody has taken it out."""
        letter = self._ids.get((message, handler))
        if letter is None:
            return False
        return letter in self.world.store.rows.letters or self._removed(letter) or self._is_crowded

    def check_end(self) -> None:
        """What routers that still live have given up is in the store, but for what was taken out."""
        lives = {router.name for router in self.world.routers}
        account = self.world.account
        for (message, handler), letter in self._ids.items():
            row = self._rows.get(letter)
            ours = any((life, letter) in self._taken for life in lives)
            aimed = row is None or row.key
            if ours and aimed and not self.kept(message, handler):
                fact = account.by_text.get(message)
                raise account.violation(1, f"the dead letter of {message} for {handler!r} is lost", fact)
