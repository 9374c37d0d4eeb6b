"""A turn uses no more than it was given, and says what ran out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from llmgine.actors.sessions.errors import (
    CostLimit,
    LimitReached,
    StepLimit,
    TimeLimit,
    TokenLimit,
    TurnDeadline,
)
from llmgine.actors.sessions.running.engines import CallModel, Step, TurnView
from llmgine.actors.sessions.turns.events import TurnDone
from llmgine.actors.sessions.turns.limits import Limits
from llmgine.providers.contracts import Usage
from llmgine.providers.events import TextDelta
from tests.actors.sessions.words import MakeBench, failure, shout


def calling(script: Any, number: int, **fields: Any) -> Any:
    return script.says(calls=(script.call("shout", f"c{number}", text="a"),), **fields)


@pytest.mark.parametrize(
    ("limits", "kind", "calls"),
    [
        (Limits(steps=3), StepLimit, 3),
        (Limits(tokens=6), TokenLimit, 2),
        (Limits(cost=Decimal("0.001")), CostLimit, 1),
        (Limits(cost=Decimal("0.0011")), CostLimit, 2),
        (Limits(steps=2, tokens=100), StepLimit, 2),
    ],
)
async def test_a_turn_ends_at_its_limit(
    bench: MakeBench, script: Any, limits: Limits, kind: type[LimitReached], calls: int
) -> None:
    """A model that only calls tools fails the turn at each limit, by name; the steps that were made stay."""
    at = bench(*[calling(script, number) for number in range(5)], tools=(shout,))
    error = failure(await at.turn(limits=limits), kind)
    assert len(at.models.requests) == calls
    assert f"limits=Limits({kind.limit}=" in str(error)
    assert at.roles == ["user", *["assistant", "tool"] * calls]


async def test_the_last_answer_may_go_beyond(bench: MakeBench, script: Any) -> None:
    """A turn whose answer is there is done, although the answer went beyond the limits."""
    at = bench(script.says("there"))
    assert isinstance(await at.turn(limits=Limits(steps=1, tokens=1, cost=Decimal("0.0001"))), TurnDone)


@pytest.mark.parametrize(
    ("limits", "fields", "mends"),
    [
        (Limits(tokens=1000), {"usage": Usage()}, "limits.steps"),
        (Limits(cost=Decimal(1)), {"cost": None}, "providers.prices"),
    ],
)
async def test_what_is_not_known_is_no_leave_to_go_on(
    bench: MakeBench, script: Any, limits: Limits, fields: Any, mends: str
) -> None:
    """Where a provider tells neither tokens nor price, a bounded turn ends after one call and says why."""
    at = bench(calling(script, 1, **fields), script.says("never"), tools=(shout,))
    assert mends in str(failure(await at.turn(limits=limits), LimitReached))


async def test_the_time_of_running(bench: MakeBench, script: Any) -> None:
    """A turn that ran for its seconds keeps what had been said; its deadline is another error."""
    at = bench([TextDelta(0, "Hal"), script.Gate()], [TextDelta(0, "Hal"), script.Gate()])
    failure(await at.turn(limits=Limits(seconds=0.01)), TimeLimit)
    assert at.context.view()[-1].text == "Hal"
    failure(await at.turn(limits=Limits(seconds=60), deadline=0.01), TurnDeadline)


class Forever:
    """Never content with an answer."""

    def next(self, view: TurnView) -> Step:
        return CallModel(view.request())


async def test_an_engine_of_ones_own_is_bounded_too(bench: MakeBench, script: Any) -> None:
    """An engine that asks on and on ends with the session's number of model calls."""
    at = bench(*[script.says("no") for _ in range(5)], engine=Forever(), max_steps=3)
    failure(await at.turn(), StepLimit)
    assert len(at.models.requests) == 3


def test_limits_go_over_those_beneath() -> None:
    """What a turn sets goes over the session's, field by field; the rest stays."""
    under = Limits(steps=16, cost=Decimal(1))
    assert Limits(steps=2, tokens=9).over(under) == Limits(steps=2, tokens=9, cost=Decimal(1))
    assert Limits().over(None) == Limits()
