"""What really happened in a run, written down beside it, and what must never happen."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from llmgine.providers.contracts import LLMRequest, Message, TextPart, ToolCallPart, ToolResultPart
from tests.simulation.sessions.loop import SimulatedLoop, here

_SHOWN = 60


class Violation(AssertionError):
    """Something that must never happen, with the story that led to it."""

    def __init__(self, what: str, story: str, invariant: int) -> None:
        super().__init__(what, story, invariant)
        self.what = what
        self.story = story
        self.invariant = invariant

    def __str__(self) -> str:
        return f"{self.what}\n{self.story}"


@dataclass
class Asked:
    """One prompt that a driver sent, and what it was told."""

    name: str
    session: str
    prompt: str
    began: float
    turn_id: str = ""
    taken_on: float | None = None
    ended: float | None = None
    answer: str | None = None
    error: str = ""
    # Somebody was told that its cancel came in time.
    cancelled: bool = False


@dataclass
class Effect:
    """What a tool did under one key: the processes that did it."""

    idempotent: bool
    by: list[str] = field(default_factory=list)


class Account:
    """The run's ledger; `must` raises what must never be."""

    def __init__(self, seed: int, loop: SimulatedLoop) -> None:
        self.loop = loop
        self.seed = seed
        # How often a model call fails.
        self.flaky = 0.0
        # What the disk holds of a turn, by session and id: its state, None where it holds nothing.
        self.kept: Callable[[str, str], str | None] = lambda session, turn_id: None
        # How many of the leaves that the disk holds for a call were given.
        self.leaves: Callable[[str], int] = lambda call: 0
        # Answers that were taken, by approval.
        self.answers: dict[str, str] = {}
        self.asks: dict[str, Asked] = {}
        # Turns whose good end somebody was told.
        self.told: set[str] = set()
        self.effects: dict[str, Effect] = {}
        self.counters: Counter[str] = Counter()
        self.violation: Violation | None = None
        self._story: deque[str] = deque(maxlen=20_000)
        self._numbers = 0

    # The story

    def tell(self, what: str) -> None:
        self._story.append(f"{self.loop.now:12.6f} {what}")

    def must(self, holds: Any, invariant: int, what: str) -> None:
        """Ends the run where it does not hold; the first that did not counts."""
        if holds or self.violation is not None:
            return
        head = f"seed {self.seed}, {self.loop.now:.6f} s: invariant {invariant}: {what}"
        self.violation = Violation(head, "\n".join(list(self._story)[-_SHOWN:]), invariant)
        self.loop.stop()

    def digest(self) -> tuple[str, ...]:
        return tuple(self._story)

    # Asking

    def ask(self, session: str, rest: str) -> Asked:
        self._numbers += 1
        name = f"t{self._numbers}"
        asked = self.asks[name] = Asked(name, session, f"{name} {rest}".strip(), self.loop.now)
        self.tell(f"{here()} asks {session}: {asked.prompt}")
        return asked

    def taken_on(self, asked: Asked, turn_id: str) -> None:
        asked.turn_id, asked.taken_on = turn_id, self.loop.now
        self.tell(f"{asked.name} is taken on as {turn_id}")
        kept = self.kept(asked.session, turn_id)
        self.must(kept is not None, 1, f"{asked.name} was taken on before it was kept")

    def answered(self, asked: Asked, turn_id: str, text: str) -> None:
        self.tell(f"{asked.name} is answered: {text}")
        asked.turn_id, asked.ended, asked.answer = turn_id, self.loop.now, text
        self.told.add(turn_id)
        self.counters["turns done"] += 1
        right = text == f"answer {asked.name}"
        self.must(right, 1, f"{asked.name} was answered with {text!r}, another's answer")
        self.must(not asked.cancelled, 1, f"{asked.name} was cancelled, and is answered")
        kept = self.kept(asked.session, turn_id)
        self.must(kept == "done", 1, f"{asked.name} was answered while it was kept as {kept}")

    def failed(self, asked: Asked, error: BaseException) -> None:
        asked.ended, asked.error = self.loop.now, f"{type(error).__name__}: {error}"
        self.tell(f"{asked.name} failed: {asked.error[:200]}")
        self.counters["turns failed"] += 1
        self.counters[f"failed with {type(error).__name__}"] += 1

    # The world

    def leave(self, approval: str, answer: str) -> None:
        """Somebody's answer to a question was taken."""
        self.counters[answer] += 1
        self.tell(f"{approval} is {answer} by {here()}")
        former = self.answers.setdefault(approval, answer)
        self.must(former == answer, 1, f"{approval} is answered {former} and {answer}")

    def effect(self, key: str, *, idempotent: bool, gated: bool = False) -> None:
        effect = self.effects.setdefault(key, Effect(idempotent))
        effect.by.append(repr(here()))
        self.tell(f"effect {key} by {here()}")
        self.counters["effects"] += 1
        # What was asked for again after a crash, and allowed, is done again.
        most = self.leaves(f"call-{key}") + (not gated)
        few = len(effect.by) <= most
        self.must(idempotent or few, 2, f"what may be done {most} times was done by {effect.by}: {key}")

    def asked(self, session: str, request: LLMRequest) -> None:
        self.counters["model calls"] += 1
        self.tell(f"{here()} is asked by {session} with {len(request.messages)} messages")
        why = unfit(request.messages)
        self.must(not why, 2, f"the model is asked with what no provider takes: {why}")

    # Histories

    def check_history(self, session: str, messages: tuple[Message, ...], asks: list[Asked]) -> None:
        """Every acknowledged turn is there once, in order; no turn is there twice."""
        why = unfit(messages)
        self.must(not why, 2, f"the history of {session} is not fit to be sent: {why}")
        places: dict[str, list[int]] = {}
        for place, message in enumerate(messages):
            if message.role == "user":
                places.setdefault(text_of(message), []).append(place)
        answers = Counter(text_of(message) for message in messages if message.role == "assistant")
        for asked in asks:
            found = places.get(asked.prompt, [])
            self.must(len(found) <= 1, 2, f"{asked.prompt!r} is in {session} {len(found)} times")
            if asked.answer is None:
                continue
            self.must(len(found) == 1, 1, f"{asked.name} was answered and is not in the history of {session}")
            times = answers[asked.answer]
            self.must(times == 1, 1, f"the answer to {asked.name} is in {session} {times} times")
        done = sorted((one for one in asks if one.answer is not None), key=lambda one: one.began)
        for later in done:
            for earlier in done:
                if earlier.ended is not None and earlier.ended < later.began:
                    self.must(
                        places[earlier.prompt] < places[later.prompt],
                        1,
                        f"{earlier.name} was answered before {later.name} was asked, and stands behind it",
                    )


def text_of(message: Message) -> str:
    return "".join(part.text for part in message.parts if isinstance(part, TextPart))


def unfit(messages: tuple[Message, ...]) -> str:
    """Why a provider would refuse these; empty where none would."""
    waiting: list[str] = []
    seen: set[str] = set()
    for place, message in enumerate(messages):
        if not message.parts:
            return f"message {place} is empty"
        results = [part.call_id for part in message.parts if isinstance(part, ToolResultPart)]
        if waiting and (message.role != "tool" or not set(results) <= set(waiting)):
            return f"message {place} comes where results of {waiting} are due"
        if results and not waiting:
            return f"message {place} has results of no calls: {results}"
        waiting = [call for call in waiting if call not in results]
        calls = [part.id for part in message.parts if isinstance(part, ToolCallPart)]
        if seen & set(calls):
            return f"message {place} has calls of ids that were used: {calls}"
        seen |= set(calls)
        waiting += calls
    return f"calls without results: {waiting}" if waiting else ""
