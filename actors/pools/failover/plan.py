"""What follows on a failed try of a call. Pure.

A try has failed in one of four ways: the pool has not made it, which costs nothing; the pool's actors
were all away, as while its only one is started anew; its provider failed it, after all that could be done
with the keys in the actor; or its actor was lost. What may
follow is another try of the same model, at an actor that the call has not been with where there is
one; the next model of the chain, where its condition names the failure; or the end.

Tries of a model whose provider has failed come out of the retry budget, because they are a load on what
has failed already. Those after the loss of an actor are free, and so are the next model's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from llmgine.actors.pools.failover.options import FailoverOptions
from llmgine.providers.errors import ErrorKind, ErrorPhase

# Where another try of anything would meet the same end, or is not wanted.
_FINAL = frozenset({ErrorKind.INVALID_REQUEST, ErrorKind.CANCELLED})
# After these another model takes over only where the chain says so.
_OF_THE_REQUEST = frozenset(
    {ErrorKind.UNSUPPORTED, ErrorKind.CONTEXT_LENGTH, ErrorKind.CONTENT_FILTER, ErrorKind.INTERNAL}
)
# After these the same model is not better for being asked at once.
FULL = frozenset({ErrorKind.RATE_LIMIT, ErrorKind.OVERLOADED})
# What speaks against a model's server, whoever asks it; a limit is the key's.
_OF_THE_MODEL = frozenset(
    {
        ErrorKind.OVERLOADED,
        ErrorKind.SERVER,
        ErrorKind.TIMEOUT,
        ErrorKind.CONNECTION,
        ErrorKind.TRUNCATED,
        ErrorKind.MALFORMED,
    }
)
# How often a call is taken up again after its actor was lost: it may be what actors die of.
_MOST_LOSSES = 2
_MOST_RESTARTS = 2

By = Literal["pool", "unreached", "provider", "actor"]
Following = tuple[str, ...] | Literal["none", "any"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A try that came to nothing.

    `by` is who failed it: the "pool", of which nobody took it or nobody had room for it in time, its actors
    that were all "unreached", the "provider", or the "actor", which was lost. `retry_after` is in seconds,
    where somebody has said so.
    """

    kind: ErrorKind
    by: By
    phase: ErrorPhase
    retryable: bool
    retry_after: float | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """How the call stands.

    `tries` are those that its present model's provider has failed, `losses` those of actors over the whole
    call, `waited` the seconds spent on coming back, `left` those until its deadline. `restarts`
    counts how often the reader was told to begin anew, or an answer was gone on with; None where neither
    may be. `untried`: its pool has an actor that it was not with. `following` is the condition of the next
    model in the chain.
    """

    tries: int = 0
    losses: int = 0
    waited: float = 0.0
    restarts: int | None = None
    left: float | None = None
    untried: bool = False
    following: Following = "none"


@dataclass(frozen=True, slots=True)
class Again:
    """Another try of the same model, after so many seconds."""

    wait: float


@dataclass(frozen=True, slots=True)
class NextModel:
    """The next model of the chain takes over."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The call has failed; `exhausted` where only the retry budget forbids another try."""

    exhausted: bool = False


Decision = Again | NextModel | GiveUp


def decide(
    failure: Failure,
    standing: Standing,
    options: FailoverOptions,
    *,
    budget: Callable[[], bool],
    random: Callable[[], float],
) -> Decision:
    """What follows; `budget` pays for a further try where it can, `random` draws from 0 to 1."""
    if failure.kind in _FINAL or (standing.left is not None and standing.left <= 0):
        return GiveUp()
    if failure.phase is ErrorPhase.MID_STREAM and not _may_restart(failure, standing):
        return GiveUp()
    if failure.by == "pool" and standing.untried:
        return Again(0.0)
    takes_over = takes_over_after(standing.following, failure.kind)
    wait = _wait(failure, standing, options, random, takes_over=takes_over)
    exhausted = False
    if wait is not None and (standing.left is None or wait < standing.left):
        if failure.by != "provider" or budget():
            return Again(wait)
        exhausted = True
    return NextModel() if takes_over else GiveUp(exhausted)


def takes_over_after(following: Following, kind: ErrorKind) -> bool:
    """Whether what follows in the chain takes over after a failure of that kind."""
    if following == "none" or kind in _FINAL:
        return False
    return kind not in _OF_THE_REQUEST if following == "any" else kind.value in following


def speaks_against_model(failure: Failure) -> bool:
    """Whether the model's breaker counts the failure; what was never sent says nothing of the model."""
    sent = failure.phase is not ErrorPhase.REQUEST
    return failure.by == "provider" and sent and failure.kind in _OF_THE_MODEL


def _may_restart(failure: Failure, standing: Standing) -> bool:
    if standing.restarts is None or not failure.retryable:
        return False
    return standing.restarts < _MOST_RESTARTS


def _wait(
    failure: Failure,
    standing: Standing,
    options: FailoverOptions,
    random: Callable[[], float],
    *,
    takes_over: bool,
) -> float | None:
    """How long until the same model may be tried again; None where it is not to be."""
    hint = failure.retry_after
    if not failure.retryable or (failure.kind in FULL and takes_over):
        return None  # who is full is not less so at once, and another model is
    if failure.by == "pool":
        wait = None  # its queues are full, and the caller is told when to come back
    elif failure.by == "unreached":
        wait = None if takes_over else _soon(standing, options, random)
    elif failure.by == "actor":
        wait = 0.0 if standing.losses <= _MOST_LOSSES else None
    elif standing.tries >= options.tries:
        wait = None
    elif failure.phase is ErrorPhase.MID_STREAM:
        wait = None  # the actor has begun it anew as often as it may be
    else:
        wait = max(hint or 0.0, random() * min(options.cap, options.base * 2.0 ** (standing.tries - 1)))
    return wait if wait is not None and standing.waited + wait <= options.patience else None


def _soon(standing: Standing, options: FailoverOptions, random: Callable[[], float]) -> float:
    """As long again as was waited already, so that an actor that comes back is found without a storm."""
    return min(options.cap, max(options.base, standing.waited)) * (0.5 + 0.5 * random())
