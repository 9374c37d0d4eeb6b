"""The middlewares that come with the bus, and how they are put around a handler."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import Field

from llmgine.actors.bus.errors import InvalidMessage, InvalidOption
from llmgine.actors.bus.messages import CommandResult, Event
from llmgine.actors.bus.middleware import (
    CallNext,
    LoggingMiddleware,
    Middleware,
    RateLimitMiddleware,
    RetryMiddleware,
    TimingMiddleware,
    ValidationMiddleware,
    chain,
)

DELIVERY: Any = SimpleNamespace(id="p:1:BUS:7", handler="shop.bill", attempt=2)


class Placed(Event):
    __wire_name__ = "shop.Placed"
    total: int = Field(1, ge=0)


class PlacedAgain(Placed):
    __wire_name__ = "shop.PlacedAgain"


class Clock:
    """Time that passes only in `sleep` and by `later`."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def later(self, seconds: float) -> None:
        self.now += seconds

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Handler:
    """Does what a script says for each call: return a value, raise an error, or take some seconds."""

    def __init__(self, *script: Any, clock: Clock | None = None) -> None:
        self.script = list(script)
        self.clock = clock
        self.calls: list[Any] = []

    async def __call__(self, message: Any, delivery: Any) -> Any:
        self.calls.append(message)
        step = self.script.pop(0) if self.script else None
        if isinstance(step, float) and self.clock:
            self.clock.later(step)
            return None
        if isinstance(step, BaseException):
            raise step
        return step


def around(middleware: Middleware, handler: CallNext) -> Callable[..., Awaitable[Any]]:
    call = chain([middleware], handler)
    return lambda message=None: call(message or Placed(), DELIVERY)


async def test_the_first_middleware_is_the_outermost() -> None:
    """Before, handler, after, in the order given; each may pass on another message and result."""
    log = []

    class Named(Middleware):
        def __init__(self, name: str) -> None:
            self.name = name

        async def handle(self, message: Any, delivery: Any, call_next: CallNext) -> Any:
            assert delivery is DELIVERY
            log.append(f"{self.name} before")
            result = await call_next(Placed(total=message.total + 1), delivery)
            log.append(f"{self.name} after")
            return result + self.name

    async def handler(message: Any, delivery: Any) -> str:
        log.append(f"handler {message.total}")
        return "result "

    call = chain([Named("a"), Middleware(), Named("b")], handler)
    assert await call(Placed(), DELIVERY) == "result ba"
    assert log == ["a before", "b before", "handler 3", "b after", "a after"]
    assert chain([], handler) is handler


async def test_timing_reports_truthfully_also_on_failure() -> None:
    """Count, min, mean, max and failures, per type; a failed result is a failure as well."""
    clock = Clock()
    timing = TimingMiddleware(clock=clock)
    assert timing.report() == {}
    handler = Handler(2.0, 0.5, 3.5, clock=clock)
    for _ in range(3):
        await around(timing, handler)()

    async def broken(message: Any, delivery: Any) -> Any:
        clock.later(10)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await around(timing, broken)()
    await around(timing, Handler(CommandResult.failed("kind", "text")))(PlacedAgain())
    placed, again = timing.report()["shop.Placed"], timing.report()["shop.PlacedAgain"]
    assert (placed.count, placed.failures) == (4, 1)
    assert (placed.min, placed.mean, placed.max) == (0.5, 4.0, 10.0)
    assert (again.count, again.failures, again.min, again.mean) == (1, 1, 0.0, 0.0)


async def test_a_report_is_a_copy() -> None:
    """What was reported does not change afterwards."""
    timing = TimingMiddleware()
    await around(timing, Handler())()
    report = timing.report()
    await around(timing, Handler())()
    assert report["shop.Placed"].count == 1


async def test_retry_stops_at_the_first_success() -> None:
    """Failures, raised or returned, are tried again after waits that double at most."""
    clock = Clock()
    retry = RetryMiddleware(5, base=1, cap=3, sleep=clock.sleep, random=lambda: 1.0)
    failure = CommandResult[int].failed("busy", "later")
    handler = Handler(ValueError("one"), failure, KeyError("three"), 4, 5)
    assert await around(retry, handler)() == 4
    assert len(handler.calls) == 4
    assert clock.slept == [1, 2, 3]


async def test_retry_raises_the_last_error_when_used_up() -> None:
    """As often as allowed, without a wait at the end; a failed result is returned alike."""
    clock = Clock()
    retry = RetryMiddleware(3, sleep=clock.sleep, random=lambda: 0.5)
    handler = Handler(*(ValueError(str(number)) for number in (1, 2, 3, 4)))
    with pytest.raises(ValueError, match="3"):
        await around(retry, handler)()
    assert (len(handler.calls), clock.slept) == (3, [0.05, 0.1])
    failures = [CommandResult[int].failed("busy", str(number)) for number in range(4)]
    assert await around(retry, Handler(*failures))() is failures[2]


@pytest.mark.parametrize("error", [asyncio.CancelledError(), InvalidMessage("bad")])
async def test_retry_leaves_cancelled_and_invalid_alone(error: BaseException) -> None:
    """Neither gets better by trying again."""
    clock = Clock()
    handler = Handler(error)
    with pytest.raises(type(error)):
        await around(RetryMiddleware(sleep=clock.sleep), handler)()
    assert (len(handler.calls), clock.slept) == (1, [])


async def test_validation_refuses_before_the_handler() -> None:
    """By raising, by returning False, plain or async; what none of them minds goes on."""

    def positive(message: Placed) -> None:
        if message.total <= 0:
            raise ValueError("total must be positive")

    async def small(message: Placed) -> bool:
        return message.total < 100

    handler = Handler()
    call = around(ValidationMiddleware({Placed: [positive, small]}), handler)
    with pytest.raises(InvalidMessage, match=r"shop\.Placed is invalid: total must be positive"):
        await call(Placed(total=0))
    with pytest.raises(InvalidMessage, match=r"refused by .*small"):
        await call(Placed(total=100))
    assert handler.calls == []
    await call(Placed(total=50))
    assert handler.calls == [Placed(total=50)]


async def test_validators_see_subclasses_and_no_other_class() -> None:
    """A check for a class also sees its subclasses; for a batch, each event."""

    def refuse(message: Any) -> bool:
        return False

    await around(ValidationMiddleware({PlacedAgain: refuse}), Handler())(Placed())
    call = chain([ValidationMiddleware({Placed: refuse})], Handler())
    for message in (PlacedAgain(), [PlacedAgain()]):
        with pytest.raises(InvalidMessage):
            await call(message, DELIVERY)


async def test_validation_can_repeat_that_of_the_class() -> None:
    """A message that was made without validation is found out; the error names the field, not its value."""
    call = around(ValidationMiddleware(revalidate=True), Handler())
    await call(Placed(total=3))
    with pytest.raises(InvalidMessage, match="total: Input should be greater") as caught:
        await call(Placed.model_construct(total=-77_777))
    assert "77777" not in str(caught.value)


async def test_rate_limiting_spaces_calls() -> None:
    """The burst goes at once, then one call every half second; a rest earns no more than the burst."""
    clock = Clock()
    times = []

    async def handler(message: Any, delivery: Any) -> None:
        times.append(clock.now)

    call = around(RateLimitMiddleware(2, burst=2, clock=clock, sleep=clock.sleep), handler)
    for _ in range(5):
        await call()
    clock.later(60)
    for _ in range(3):
        await call()
    assert times == pytest.approx([100, 100, 100.5, 101, 101.5, 161.5, 161.5, 162])


async def test_calls_side_by_side_are_spaced_as_well() -> None:
    """In the order in which they came, and each wakes up once."""
    clock = Clock()
    times = {}

    async def handler(message: Any, delivery: Any) -> None:
        times[message.total] = clock.now

    async def sleep(seconds: float) -> None:
        due, woken = clock.now + seconds, asyncio.Event()
        asyncio.get_running_loop().call_soon(woken.set)
        await woken.wait()
        await clock.sleep(max(0.0, due - clock.now))

    call = around(RateLimitMiddleware(10, clock=clock, sleep=sleep), handler)
    await asyncio.gather(*(call(Placed(total=number)) for number in range(20)))
    assert (list(times), len(clock.slept)) == (list(range(20)), 19)
    assert all(later - earlier == pytest.approx(0.1) for earlier, later in pairwise(times.values()))


async def test_a_wait_that_is_cancelled_takes_nothing() -> None:
    """However many give up while they wait, the next call waits no longer for it."""
    clock = Clock()
    asleep, stuck = asyncio.Event(), asyncio.Event()

    async def sleep(seconds: float) -> None:
        asleep.set()
        await stuck.wait()
        await clock.sleep(seconds)

    handler = Handler()
    call = around(RateLimitMiddleware(1, clock=clock, sleep=sleep), handler)
    await call()
    waiting = [asyncio.ensure_future(call()) for _ in range(50)]
    await asleep.wait()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    stuck.set()
    await call()
    assert (clock.slept, len(handler.calls)) == ([1.0], 2)


def test_one_rate_limit_serves_one_loop_after_another() -> None:
    """A middleware that is kept for long is bound to no loop."""
    clock = Clock()
    handler = Handler()
    call = around(RateLimitMiddleware(1, clock=clock, sleep=clock.sleep), handler)

    async def some() -> None:
        await asyncio.gather(*(call() for _ in range(3)))

    for _ in range(2):
        asyncio.run(some())
    assert (len(handler.calls), sum(clock.slept)) == (6, 5)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: RateLimitMiddleware(0), "rate"),
        (lambda: RateLimitMiddleware(1, burst=0), "burst"),
        (lambda: RetryMiddleware(0), "attempt"),
        (lambda: RetryMiddleware(base=0), "base"),
        (lambda: ValidationMiddleware(print), "classes with their checks"),  # type: ignore[arg-type]  # meant
    ],
)
def test_a_middleware_that_cannot_work_is_refused(make: Any, named: str) -> None:
    """When it is made, with what is wrong."""
    with pytest.raises(InvalidOption, match=named):
        make()


async def test_logging_names_what_happens_and_shows_no_content(caplog: pytest.LogCaptureFixture) -> None:
    """Type, id, handler, attempt and duration; the kind of a failure, never its text."""
    caplog.set_level(logging.DEBUG)
    clock = Clock()
    secret = ValueError("secret")
    handler = Handler(0.25, secret, CommandResult.failed("busy", "secret"), clock=clock)
    call = around(LoggingMiddleware(logging.DEBUG, logging.getLogger("shop"), clock=clock), handler)
    await call()
    with pytest.raises(ValueError, match="secret"):
        await call()
    await call()
    what = "shop.Placed p:1:BUS:7 in shop.bill, attempt 2"
    assert [(one.name, one.levelname, one.getMessage()) for one in caplog.records] == [
        ("shop", "DEBUG", f"handling {what}"),
        ("shop", "DEBUG", f"handled {what}, in 0.250000 s"),
        ("shop", "DEBUG", f"handling {what}"),
        ("shop", "WARNING", f"failed {what}, after 0.000000 s: ValueError"),
        ("shop", "DEBUG", f"handling {what}"),
        ("shop", "WARNING", f"failed {what}, after 0.000000 s: busy"),
    ]


async def test_a_batch_is_logged_and_timed_as_one(caplog: pytest.LogCaptureFixture) -> None:
    """Under the name of its class and brackets."""
    caplog.set_level(logging.INFO)
    timing = TimingMiddleware()
    call = chain([LoggingMiddleware(), timing], Handler())
    await call([Placed(), Placed()], [DELIVERY, DELIVERY])
    assert [*timing.report()] == ["shop.Placed[]"]
    assert "handling shop.Placed[] p:1:BUS:7 in shop.bill" in caplog.text
