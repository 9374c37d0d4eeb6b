"""What follows on a failed try, over every kind of failure, whoever it came from and whatever follows."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from llmgine.actors.pools.failover.options import FailoverOptions
from llmgine.actors.pools.failover.plan import (
    Again,
    By,
    Decision,
    Failure,
    GiveUp,
    NextModel,
    Standing,
    decide,
    speaks_against_model,
)
from llmgine.providers import ErrorKind, ErrorPhase, ProviderError
from llmgine.providers.contracts import FailureKind

OPTIONS = FailoverOptions(tries=3, base=1.0, cap=3.0, patience=10.0)
BEFORE, MIDDLE = ErrorPhase.PRE_TOKEN, ErrorPhase.MID_STREAM

ALWAYS_LAST = {ErrorKind.INVALID_REQUEST, ErrorKind.CANCELLED}
ONLY_NAMED = {
    ErrorKind.UNSUPPORTED,
    ErrorKind.CONTEXT_LENGTH,
    ErrorKind.CONTENT_FILTER,
    ErrorKind.INTERNAL,
}


def failure(kind: ErrorKind, by: By = "provider", **more: Any) -> Failure:
    """As an error of that kind says it, unless `more` says otherwise."""
    fields = {"phase": BEFORE, "retryable": ProviderError("", kind=kind).retryable, **more}
    return Failure(kind, by, **fields)


def decided(
    failed: Failure, standing: Standing, *, budget: bool = True, options: FailoverOptions = OPTIONS
) -> Decision:
    return decide(failed, standing, options, budget=lambda: budget, random=lambda: 1.0)


def test_conditions_name_all_kinds_but_two() -> None:
    """A chain can name every kind of failure except those that no model can do better with."""
    assert set(get_args(FailureKind)) == {kind.value for kind in set(ErrorKind) - ALWAYS_LAST}


@pytest.mark.parametrize("kind", ErrorKind)
def test_when_the_next_model_takes_over(kind: ErrorKind) -> None:
    """After any failure that does not lie in the request, after others only where it is named, and after
    two never."""
    spent = Standing(tries=OPTIONS.tries)
    unasked = decided(failure(kind), Standing(tries=spent.tries, following="any"))
    named = decided(failure(kind), Standing(tries=spent.tries, following=(kind.value,)))
    other = decided(failure(kind), Standing(tries=spent.tries, following=("something else",)))
    alone = decided(failure(kind), spent)
    assert (unasked == NextModel()) == (kind not in ALWAYS_LAST | ONLY_NAMED)
    assert (named == NextModel()) == (kind not in ALWAYS_LAST)
    assert other == alone == GiveUp()


@pytest.mark.parametrize("by", ["provider", "actor"])
@pytest.mark.parametrize("kind", ErrorKind)
def test_the_same_model_is_tried_again_where_that_can_help(kind: ErrorKind, by: By) -> None:
    """What may pass is tried again, after a wait where the provider failed, at once where the actor was
    lost; what would meet the same end is not."""
    found = decided(failure(kind, by), Standing(tries=1))
    if kind in ALWAYS_LAST or not failure(kind).retryable:
        assert found == GiveUp()
    else:
        assert found == Again(0.0 if by == "actor" else 1.0)


def test_waits_grow_up_to_a_cap() -> None:
    """The longest wait doubles with each try."""
    options = OPTIONS.model_copy(update={"tries": 9})
    waits = [
        decided(failure(ErrorKind.SERVER), Standing(tries=tries), options=options) for tries in range(1, 5)
    ]
    assert waits == [Again(1.0), Again(2.0), Again(3.0), Again(3.0)]


def test_a_hint_of_the_provider_is_kept() -> None:
    """No try is made earlier than the provider said; one that is too late is not waited for."""
    busy = failure(ErrorKind.RATE_LIMIT, retry_after=7.0)
    assert decided(busy, Standing(tries=1)) == Again(7.0)
    assert decided(busy, Standing(tries=1, waited=4.0)) == GiveUp()
    assert decided(busy, Standing(tries=1, left=6.0)) == GiveUp()
    assert decided(busy, Standing(tries=1, left=6.0, following="any")) == NextModel()


@pytest.mark.parametrize("kind", [ErrorKind.RATE_LIMIT, ErrorKind.OVERLOADED])
def test_nobody_waits_for_what_is_full_while_another_is_there(kind: ErrorKind) -> None:
    """The next model takes over at once, with tries left and a hint given."""
    assert decided(failure(kind, retry_after=0.1), Standing(tries=1, following="any")) == NextModel()


def test_tries_of_a_failing_provider_are_paid_for() -> None:
    """Without budget a provider's failure is the last, or the next model's; losses and refusals are free."""
    again = failure(ErrorKind.SERVER)
    assert decided(again, Standing(tries=1), budget=False) == GiveUp(exhausted=True)
    assert decided(again, Standing(tries=1, following="any"), budget=False) == NextModel()
    assert decided(failure(ErrorKind.CONNECTION, "actor"), Standing(), budget=False) == Again(0.0)
    refused = failure(ErrorKind.OVERLOADED, "pool")
    assert decided(refused, Standing(untried=True), budget=False) == Again(0.0)


def test_a_full_pool_is_told_at_once() -> None:
    """A call that no actor takes asks each once, then goes to the next model or fails."""
    refused = failure(ErrorKind.OVERLOADED, "pool", retry_after=0.1)
    assert decided(refused, Standing(untried=True, following="any")) == Again(0.0)
    assert decided(refused, Standing(following="any")) == NextModel()
    assert decided(refused, Standing()) == GiveUp()


def test_a_call_that_actors_die_of_is_given_up() -> None:
    """After three lost actors no other is asked."""
    lost = failure(ErrorKind.CONNECTION, "actor")
    found = [decided(lost, Standing(tries=9, losses=losses)) for losses in (1, 2, 3)]
    assert found == [Again(0.0), Again(0.0), GiveUp()]


def test_nothing_is_begun_after_the_deadline() -> None:
    """Neither another try nor another model."""
    assert decided(failure(ErrorKind.TIMEOUT), Standing(tries=1, left=0.0, following="any")) == GiveUp()


@pytest.mark.parametrize("by", ["provider", "actor"])
def test_in_the_middle_of_a_stream(by: By) -> None:
    """A stream that may not be restarted ends; others are taken up again twice, by the actor itself where
    its provider fails."""
    broken = failure(ErrorKind.CONNECTION, by, phase=MIDDLE)
    assert decided(broken, Standing(restarts=None, following="any")) == GiveUp()
    assert decided(broken, Standing(restarts=2, following="any")) == GiveUp()
    assert decided(broken, Standing(restarts=1)) == (Again(0.0) if by == "actor" else GiveUp())
    assert decided(broken, Standing(restarts=1, tries=9, losses=9, following="any")) == NextModel()


@pytest.mark.parametrize("kind", ErrorKind)
def test_what_speaks_against_a_model(kind: ErrorKind) -> None:
    """Failures of its server do; those of a key, a request or an actor do not."""
    of_servers = {"overloaded", "server", "timeout", "connection", "truncated", "malformed"}
    assert speaks_against_model(failure(kind)) == (kind.value in of_servers)
    assert not speaks_against_model(failure(kind, "actor"))
    assert not speaks_against_model(failure(kind, "pool"))
    assert not speaks_against_model(failure(kind, "unreached"))


def test_a_pool_that_cannot_be_reached_is_waited_for() -> None:
    """Each time as long again as before, up to the patience for one call, and free of the budget."""
    away, waits = failure(ErrorKind.CONNECTION, "unreached"), list[float]()
    while isinstance(again := decided(away, Standing(waited=sum(waits)), budget=False), Again):
        waits.append(again.wait)
    assert waits == [1.0, 1.0, 2.0, 3.0, 3.0]
    assert decided(away, Standing(left=0.5)) == GiveUp()


def test_another_model_takes_over_from_a_pool_that_cannot_be_reached() -> None:
    """At once, where the chain has it take over."""
    away = failure(ErrorKind.CONNECTION, "unreached")
    assert decided(away, Standing(following="any")) == NextModel()
