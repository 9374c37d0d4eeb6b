"""Each kind of failure, in each phase, takes the way that the call's policy and its chain say.

The rows are what is promised, written out: nothing here asks the code what it would do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from llmgine.providers import ErrorKind, ErrorPhase, Failed, Fallback, Reset
from tests.actors.pools.client.stage import Stage, answer, failed, outcomes
from tests.faults.streams import heard
from tests.providers.faults.server import FaultServer

Policy = Literal["fail", "restart", "continue"]
POLICIES: tuple[Policy, ...] = ("fail", "restart", "continue")
WHOLE = "Hello big world"


@dataclass(frozen=True)
class Row:
    """A model that fails so: whether it is tried again, and whether another model takes over unasked.

    A key that is at its limit is waited for until the call's deadline, if nobody takes over.
    """

    model: str
    kind: ErrorKind
    again: bool = True
    passes: bool = True
    deadline: float | None = None

    def __str__(self) -> str:
        return self.model


BEFORE = (
    Row("one/status.400", ErrorKind.INVALID_REQUEST, again=False, passes=False),
    Row("one/status.401", ErrorKind.AUTHENTICATION, again=False),
    Row("one/status.403", ErrorKind.PERMISSION, again=False),
    Row("one/status.404", ErrorKind.NOT_FOUND, again=False),
    Row("one/status.429", ErrorKind.RATE_LIMIT, deadline=0.3),
    Row("one/status.500", ErrorKind.SERVER),
    Row("one/status.503", ErrorKind.OVERLOADED, deadline=0.3),
    Row("one/empty", ErrorKind.TRUNCATED),
    Row("one/html", ErrorKind.MALFORMED),
    Row("late/slow", ErrorKind.TIMEOUT),
    Row("down/any", ErrorKind.CONNECTION),
)
MIDDLE = (
    Row("one/error-frame", ErrorKind.OVERLOADED),
    Row("one/cut", ErrorKind.CONNECTION),
    Row("one/reset", ErrorKind.CONNECTION),
    Row("one/clean-end", ErrorKind.TRUNCATED),
    Row("one/malformed", ErrorKind.MALFORMED),
    Row("stalling/stall", ErrorKind.TIMEOUT),
)


def chains(row: Row) -> dict[str, tuple[list[str | Fallback], bool]]:
    """Chains behind the row's model, each with whether its second model takes over."""
    named = () if row.kind is ErrorKind.INVALID_REQUEST else (row.kind.value,)
    return {
        "alone": ([row.model], False),
        "any": ([row.model, "two/ok"], row.passes),
        "named": ([row.model, Fallback.model_validate({"model": "two/ok", "on": named})], bool(named)),
        "other": ([row.model, Fallback(model="two/ok", on=("content_filter",))], False),
    }


def asked(server: FaultServer, row: Row) -> int:
    """How often the server was asked for the row's model."""
    return sum(call.model == row.model.partition("/")[2] for call in server.calls)


@pytest.mark.parametrize("chain", ["alone", "any", "named", "other"])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("row", BEFORE, ids=str)
async def test_before_the_first_token(
    stage: Stage, server: FaultServer, row: Row, policy: Policy, chain: str
) -> None:
    """A model that fails before its first token is tried again where that can help, or is passed by; the
    reader hears of the end alone."""
    models, passes = chains(row)[chain]
    events = await stage.events(models, mid_stream=policy, deadline=None if passes else row.deadline)
    assert not any(isinstance(event, Reset) for event in events)
    if passes:
        assert heard(events) == WHOLE
        told = outcomes(answer(events))
        assert told[0] == (row.model, row.kind.value)
        assert told[-1] == ("two/ok", "done")
        return
    (last,) = events
    assert isinstance(last, Failed)
    ended_by_deadline = row.deadline is not None and last.error.kind is ErrorKind.TIMEOUT
    assert last.error.kind is row.kind or ended_by_deadline
    assert last.partial is None
    assert last.error.phase is not ErrorPhase.MID_STREAM
    if row.deadline is None:
        assert len(last.attempts) > 1 if row.again else len(last.attempts) == 1
    if row.deadline is None and not row.model.startswith("down"):
        assert asked(server, row) > 1 if row.again else asked(server, row) == 1


@pytest.mark.parametrize("chain", ["alone", "any", "named", "other"])
@pytest.mark.parametrize("row", MIDDLE, ids=str)
async def test_in_the_middle_of_a_stream_that_is_to_fail(
    stage: Stage, server: FaultServer, row: Row, chain: str
) -> None:
    """Nothing takes back what was said: the call ends with what had arrived, whatever the chain."""
    events = await stage.events(chains(row)[chain][0])
    last = failed(events)
    assert heard(events) == "Hello"
    assert (last.error.kind, last.error.phase) == (row.kind, ErrorPhase.MID_STREAM)
    assert last.partial is not None
    assert last.partial.text == "Hello"
    assert (asked(server, row), outcomes(last)) == (1, [(row.model, row.kind.value)])


@pytest.mark.parametrize("chain", ["alone", "any", "named", "other"])
@pytest.mark.parametrize("policy", ["restart", "continue"])
@pytest.mark.parametrize("row", MIDDLE, ids=str)
async def test_in_the_middle_of_a_stream_that_may_go_on(
    stage: Stage, server: FaultServer, row: Row, policy: Policy, chain: str
) -> None:
    """The model is tried twice more, anew or from where it stopped; after that another one begins anew
    where the chain has it, else the call ends with what had arrived."""
    models, passes = chains(row)[chain]
    events = await stage.events(models, mid_stream=policy)
    assert asked(server, row) == 3
    resets = sum(isinstance(event, Reset) for event in events)
    if passes:
        assert heard(events) == WHOLE
        response = answer(events)
        assert response.text == WHOLE
        assert outcomes(response) == [(row.model, row.kind.value)] * 3 + [("two/ok", "done")]
        assert resets == (3 if policy == "restart" else 1)
        return
    last = failed(events)
    assert (last.error.kind, last.error.phase) == (row.kind, ErrorPhase.MID_STREAM)
    assert last.partial is not None
    assert last.partial.text == heard(events) == ("Hello" if policy == "restart" else "Hello" * 3)
    assert resets == (2 if policy == "restart" else 0)
