"""What a model is shown of a conversation that has grown: the view through a window.

A view begins where a turn begins, or, where the running turn alone is too long, between two of its steps,
so a call and its result stay together. What came before is left out, but for the running turn's
prompt and what was said to it since, system messages, and what is pinned; a pinned message brings its
turn's prompt and its calls' results with it.

Providers keep the beginnings of prompts in caches. So that a view begins as the last one did, it is cut
in steps of half the window: after a cut the next turns only add to it. Where a cut lies depends on nothing
but the conversation, so a session that wakes elsewhere goes on with the same view.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import Field

from llmgine.actors.sessions.errors import WindowTooSmall
from llmgine.providers.contracts import Contract, Message
from llmgine.providers.errors import InvalidRequest


class Window(Contract):
    """How much of its conversation a session shows to its models; the conversation itself stays whole.

    Made by `Window.messages`, `Window.tokens` or `Window.summary`. Tokens are estimated, a token for every
    four characters of English; the system prompt and the tools count as well.
    """

    kind: Literal["messages", "tokens", "summary"]
    most: int | None = Field(default=None, ge=1)
    keep: int | None = Field(default=None, ge=1)
    model: str | None = None

    @classmethod
    def messages(cls, most: int) -> Self:
        """At most so many messages; raises InvalidRequest where that is no number from 1."""
        _check_number("Window.messages", "most", most)
        return cls(kind="messages", most=most)

    @classmethod
    def tokens(cls, most: int | None = None) -> Self:
        """At most so many tokens; by default three quarters of what the model holds, where that is known."""
        if most is not None:
            _check_number("Window.tokens", "most", most)
        return cls(kind="tokens", most=most)

    @classmethod
    def summary(cls, *, model: str | None = None, above: int | None = None, keep: int | None = None) -> Self:
        """A summary in place of the older messages, made anew when more than `above` tokens are shown.

        `model` writes it, by default the turn's own; `keep` is how many tokens of the newest messages stay
        as they are, at most half of `above` and by default a quarter; `above` is by default as for `tokens`.
        """
        for option, given in {"above": above, "keep": keep}.items():
            if given is not None:
                _check_number("Window.summary", option, given)
        if above is not None and keep is not None and 2 * keep > above:
            raise InvalidRequest(
                f"Window.summary: keep= is at most half of above=, which is {above}, not {keep}; "
                "with more, each turn would need a new summary"
            )
        if model is not None and (not isinstance(model, str) or not model):
            raise InvalidRequest(f"Window.summary: model= is provider/model, not {model!r}")
        return cls(kind="summary", most=above, keep=keep, model=model)


def _check_number(made: str, option: str, given: object) -> None:
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise InvalidRequest(f"{made}: {option}= is a whole number from 1, not {given!r}")


class Measured:
    """Sizes of a conversation's messages, each measured once, and what of it is never left out."""

    def __init__(self, size: Callable[[Message], int]) -> None:
        self._size = size
        self._seen: list[Message] = []
        self._system: list[int] = []
        self._sums = [0]

    @property
    def total(self) -> int:
        return self._sums[-1]

    def follow(self, messages: Sequence[Message]) -> None:
        """Takes in what was added and forgets what was taken back."""
        while self._seen and (
            len(self._seen) > len(messages) or self._seen[-1] is not messages[len(self._seen) - 1]
        ):
            self._seen.pop()
            self._sums.pop()
            if self._system and self._system[-1] == len(self._seen):
                self._system.pop()
        for message in messages[len(self._seen) :]:
            if message.role == "system":
                self._system.append(len(self._seen))
            self._seen.append(message)
            self._sums.append(self._sums[-1] + self._size(message))

    def between(self, begin: int, end: int) -> int:
        return self._sums[end] - self._sums[begin]

    def of(self, numbers: Iterable[int]) -> int:
        return sum(self.between(number, number + 1) for number in numbers)

    def reaching(self, size: int) -> int:
        """How many of the first messages it takes to come to this size."""
        return bisect_left(self._sums, size)

    def kept(self, pinned: Iterable[int]) -> set[int]:
        """Numbers of the system messages and of the pinned ones with what belongs to them."""
        return {*self._system, *(other for one in pinned for other in _with_its_own(self._seen, one))}


@dataclass(frozen=True, slots=True)
class Sight:
    """A conversation while a turn runs that `prompt` began; `kept` are shown wherever a view begins."""

    measured: Measured
    messages: Sequence[Message]
    kept: set[int]
    prompt: int

    def start_within(self, bound: int) -> int:
        """Where to begin so that all that is shown is at most `bound`; WindowTooSmall where nowhere is."""
        if self.measured.total <= bound:
            return 0
        step = max(1, bound // 2)
        excess = self.measured.total - bound + self.measured.of(self.kept)
        first = self.measured.reaching(-(-excess // step) * step)
        least = self.measured.total
        for start in _or_latest(self._starts(first), self._starts(1)):
            least = self.size_from(start)
            if least <= bound:
                return start
        raise WindowTooSmall(
            f"the prompt, what is pinned and the last step come to {least}, and the window shows at most "
            f"{bound}; give the session a larger window, or take pins away"
        )

    def summary_end(self, keep: int, after: int) -> int | None:
        """How many messages a summary should stand for so that at most `keep` is shown beside it.

        As many as can be where even the last step is more; None where that is not more than `after`.
        """
        end = None
        for start in self._starts(after + 1):
            end = start
            if self.size_from(start) <= keep:
                break
        return end

    def size_from(self, start: int) -> int:
        """The size of the view that begins at `start`."""
        before = self.measured.of(self._before(start))
        return before + self.measured.between(start, len(self.messages))

    def view_from(self, start: int) -> tuple[Message, ...]:
        """The view that begins at `start`."""
        return (*(self.messages[number] for number in self._before(start)), *self.messages[start:])

    def _before(self, start: int) -> list[int]:
        """Numbers of the messages before `start` that are shown all the same."""
        said = {number for number in range(self.prompt, start) if self.messages[number].role == "user"}
        return sorted({number for number in self.kept if number < start} | said)

    def _starts(self, first: int) -> Iterator[int]:
        """Where a view may begin, from `first` on: with a turn, or between steps of the running one."""
        for number in range(first, len(self.messages)):
            role = self.messages[number].role
            if role in ("user", "system") if number <= self.prompt else role != "tool":
                yield number


def _or_latest(starts: Iterable[int], others: Iterable[int]) -> Iterator[int]:
    """The starts; where there is none, the last of the others."""
    found = False
    for start in starts:
        found = True
        yield start
    if not found:
        yield max(others, default=0)


def _with_its_own(messages: Sequence[Message], number: int) -> Iterator[int]:
    """The message, the prompt that it follows, and the calls or results that belong to it."""
    if messages[number].role == "system":
        yield number
        return
    begin = number
    while begin > 0 and messages[begin].role == "tool":
        begin -= 1
    yield from range(begin, number + 1)
    for after in range(number + 1, len(messages)):
        if messages[after].role != "tool":
            break
        yield after
    for before in range(begin, -1, -1):
        if messages[before].role == "user":
            yield before
            break
