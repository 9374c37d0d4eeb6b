"""Keys that come, change and go while calls are made with them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from llmgine.actors.pools.serving import keyed
from llmgine.providers import (
    Done,
    InvalidRequest,
    LLMRequest,
    MissingKey,
    ModelNotInstalled,
    StreamEvent,
    TextDelta,
)
from llmgine.providers.contracts import BatchState, BatchStatus, FinishReason, LLMResponse, Message
from llmgine.providers.options import ProvidersOptions
from tests.actors.pools.serving.keyserver import Caller

Until = Callable[..., Any]
URL = "http://127.0.0.1:1/v1"


class Provider:
    """Says with which key it was opened, and ends when the test lets it."""

    name = "there"

    def __init__(self, text: str, gate: asyncio.Event) -> None:
        self.text, self.gate = text, gate
        self.closed = 0

    async def stream(self, request: LLMRequest, *, session: str = "") -> AsyncGenerator[StreamEvent, None]:
        yield TextDelta(0, self.text)
        await self.gate.wait()
        message = Message.assistant(self.text)
        yield Done(LLMResponse(message=message, finish_reason=FinishReason.STOP, model="m", provider="there"))

    def batches(self, model: str) -> Any:
        return Ledger(self.text)

    async def aclose(self) -> None:
        self.closed += 1


class Ledger:
    """Batches of which only the status is asked."""

    most_requests = most_bytes = 1
    key = ""

    def __init__(self, text: str) -> None:
        self.text = text

    async def status(self, id: str) -> BatchStatus:
        return BatchStatus(id=f"{id} of {self.text}", state=BatchState.RUNNING)


class Shop:
    """Opens providers in place of the registry."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()
        self.opened: list[Provider] = []
        self.may_open = threading.Event()
        self.may_open.set()
        self.error: Exception | None = None

    def open_endpoint(
        self, name: str, options: ProvidersOptions, key: SecretStr | None, told: object
    ) -> Provider:
        assert self.may_open.wait(10.0)
        if self.error is not None:
            raise self.error
        self.opened.append(Provider(key.get_secret_value() if key else "", self.gate))
        return self.opened[-1]

    @property
    def texts(self) -> list[str]:
        return [provider.text for provider in self.opened]


@pytest.fixture
async def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    shop = Shop()
    monkeypatch.setattr(keyed, "open_endpoint", shop.open_endpoint)
    return shop


@pytest.fixture
async def make(shop: Shop) -> AsyncIterator[Callable[..., Caller]]:
    made: list[Caller] = []

    def make(*keys: dict[str, Any], **endpoint: Any) -> Caller:
        made.append(Caller({"base_url": URL, "keys": keys, **endpoint}))
        return made[-1]

    yield make
    for caller in made:
        await caller.calls.aclose()


async def said(caller: Caller) -> str:
    end = await caller.end()
    assert isinstance(end, Done)
    return end.response.text


def by_function(monkeypatch: pytest.MonkeyPatch, function: Any) -> dict[str, str]:
    monkeypatch.setattr("tests.actors.pools.serving.vault.key", function)
    return {"name": "given", "function": "tests.actors.pools.serving.vault:key"}


async def test_a_file_that_changes_is_taken_up(
    shop: Shop, make: Callable[..., Caller], tmp_path: Path, until: Until
) -> None:
    """Calls go on with the new text soon after; one that runs ends with the old one, which then is closed."""
    file = tmp_path / "key"
    file.write_text("first")
    caller = make({"name": "a", "file": file})
    shop.gate.clear()
    running = aiter(await caller.begun())
    assert await anext(running) == TextDelta(0, "first")
    file.write_text("second")
    caller.clock.skip(1.0)
    other = asyncio.create_task(said(caller))  # its call finds that it is time to look
    await until(lambda: shop.texts == ["first", "second"])
    shop.gate.set()
    await other
    assert await said(caller) == "second"
    assert [provider.closed for provider in shop.opened] == [0, 0]
    assert isinstance([event async for event in running][-1], Done)
    await until(lambda: shop.opened[0].closed == 1)
    assert shop.opened[1].closed == 0


async def test_a_file_that_stays_is_read_again_and_nothing_else(
    shop: Shop, make: Callable[..., Caller], tmp_path: Path, until: Until
) -> None:
    """The same text, and a file that is gone for a moment, change nothing for the calls."""
    file = tmp_path / "key"
    file.write_text("first")
    caller = make({"name": "a", "file": file})
    assert await said(caller) == "first"
    file.unlink()
    caller.clock.skip(1.0)
    assert await said(caller) == "first"
    await until(lambda: caller.calls.statistics()["a"]["looked"])
    file.write_text("first\n")
    caller.clock.skip(1.0)
    assert await said(caller) == "first"
    await until(lambda: not caller.calls.statistics()["a"]["looked"])
    assert shop.texts == ["first"]


async def test_calls_that_begin_at_once_open_each_key_once(
    shop: Shop, make: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    """Twenty first calls wait for one opening of each key, and are spread over both."""
    monkeypatch.setenv("A", "of-a")
    monkeypatch.setenv("B", "of-b")
    caller = make({"name": "a", "env": "A"}, {"name": "b", "env": "B"})
    await asyncio.gather(*(said(caller) for _ in range(20)))
    await until(caller.opened)
    assert sorted([await said(caller), await said(caller)]) == ["of-a", "of-b"]
    assert sorted(shop.texts) == ["of-a", "of-b"]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_function_gives_the_key(
    shop: Shop, make: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """It is called with the key's name, in a thread unless it is async, and once for any number of calls."""
    asked: list[tuple[str, bool]] = []
    loop_thread = threading.get_ident()

    def given(name: str) -> str:
        asked.append((name, threading.get_ident() == loop_thread))
        return "from-the-vault"

    async def given_later(name: str) -> SecretStr:
        return SecretStr(given(name))

    caller = make(by_function(monkeypatch, given if kind == "sync" else given_later))
    assert [await said(caller) for _ in range(3)] == ["from-the-vault"] * 3
    assert asked == [("given", kind == "async")]


async def test_a_key_that_ends_is_asked_for_before(
    shop: Shop, make: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    """In the last part of its time a call has the next one looked for, and goes on with this one."""
    numbers = iter(range(9))
    caller = make(by_function(monkeypatch, lambda name: (f"number-{next(numbers)}", 100.0)))
    assert await said(caller) == "number-0"
    caller.clock.skip(79.0)
    assert await said(caller) == "number-0"
    assert shop.texts == ["number-0"]
    caller.clock.skip(2.0)
    assert await said(caller) == "number-0"
    await until(lambda: shop.opened[0].closed == 1)
    assert await said(caller) == "number-1"


async def test_no_call_goes_with_a_key_whose_time_is_over(
    shop: Shop, make: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call waits for the next one; where there is none, it says so."""
    numbers = iter(["zero", "one"])

    def given(name: str) -> tuple[str, float]:
        return next(numbers), 10.0

    caller = make(by_function(monkeypatch, given))
    assert await said(caller) == "zero"
    caller.clock.skip(11.0)
    assert await said(caller) == "one"
    caller.clock.skip(11.0)
    error = await caller.failure()
    assert error.kind.value == "authentication"
    with pytest.raises(MissingKey, match=r"raised StopIteration.* Mend the function"):
        await caller.end()


@pytest.mark.parametrize(
    ("given", "said_of_it"),
    [
        (lambda name: 1 / 0, "raised ZeroDivisionError"),
        (lambda name: "", "gave an empty key"),
        (lambda name: "two\nlines", "not one line"),
        (lambda name: None, "neither a key nor"),
        (lambda name: ("k", -1.0), "neither a key nor"),
        (None, "raised AttributeError"),
    ],
)
async def test_a_function_that_gives_no_key_is_named(
    shop: Shop, make: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch, given: Any, said_of_it: str
) -> None:
    """The error says which function on which node gave what, and shows nothing of what it gave."""
    place = by_function(monkeypatch, given)
    if given is None:
        place = {**place, "function": "tests.actors.pools.serving.vault:nobody"}
    caller = make(place, {"name": "b", "env": "NO_SUCH_VARIABLE"})
    with pytest.raises(MissingKey) as caught:
        await caller.end()
    for part in (
        "key given: function tests.actors.pools.serving.vault:",
        said_of_it,
        "key b:",
        "NO_SUCH",
        "node",
    ):
        assert part in str(caught.value)
    assert "two\nlines" not in str(caught.value)


async def test_one_key_is_enough(
    shop: Shop, make: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    """A key that is missing holds up no call; once it is there it serves too."""
    monkeypatch.setenv("A", "of-a")
    monkeypatch.delenv("B", raising=False)
    caller = make({"name": "a", "env": "A"}, {"name": "b", "env": "B"})
    assert await said(caller) == "of-a"
    assert caller.calls.statistics()["b"]["state"] == "absent"
    monkeypatch.setenv("B", "of-b")
    caller.clock.skip(1.0)
    assert await said(caller) == "of-a"
    await until(caller.opened)
    assert {await said(caller), await said(caller)} == {"of-a", "of-b"}


async def test_why_nothing_opens_is_raised_until_it_does(
    shop: Shop, make: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call tries anew what could not be opened."""
    monkeypatch.setenv("A", "of-a")
    caller = make({"name": "a", "env": "A"})
    shop.error = ModelNotInstalled("install it")
    for _ in range(2):
        with pytest.raises(ModelNotInstalled, match="install it"):
            await caller.end()
    shop.error = None
    assert await said(caller) == "of-a"


async def test_closing_closes_what_is_open(
    shop: Shop, make: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    """Every provider is closed once, that of a running call and one of an older text too."""
    monkeypatch.setenv("A", "of-a")
    caller = make(by_function(monkeypatch, lambda name: ("x", 10.0)), {"name": "a", "env": "A"})
    await caller.calls.open()
    await until(caller.opened)
    shop.gate.clear()
    running = [aiter(await caller.begun()) for _ in range(2)]
    for one in running:
        await anext(one)
    await caller.calls.aclose()
    assert [provider.closed for provider in shop.opened] == [1, 1]
    for one in running:
        await one.aclose()  # type: ignore[attr-defined]
    await caller.calls.aclose()
    assert [provider.closed for provider in shop.opened] == [1, 1]


async def test_batches_name_their_key(
    shop: Shop, make: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch, until: Until
) -> None:
    """They go with the key of the name that is asked for, or with any, and say with which."""
    monkeypatch.setenv("A", "of-a")
    monkeypatch.setenv("B", "of-b")
    caller = make({"name": "a", "env": "A"}, {"name": "b", "env": "B"})
    await caller.calls.open()
    await until(caller.opened)
    for asked, names in (("a", ["a"]), ("b", ["b"]), ("", ["a", "b"])):
        async with caller.calls.batches("m", asked) as batches:
            assert batches.key in names
            assert (await batches.status("batch-1")).id == f"batch-1 of of-{batches.key}"
    with pytest.raises(InvalidRequest, match=r"no key 'c'.*a, b"):
        async with caller.calls.batches("m", "c"):
            pass


async def test_a_batch_that_is_read_keeps_its_key_open(
    shop: Shop, make: Callable[..., Caller], tmp_path: Path, until: Until
) -> None:
    """A key that is replaced meanwhile is closed when the block is over."""
    file = tmp_path / "key"
    file.write_text("first")
    caller = make({"name": "a", "file": file})
    async with caller.calls.batches("m", "a"):
        file.write_text("second")
        caller.clock.skip(1.0)
        await said(caller)
        await until(lambda: shop.texts == ["first", "second"])
        assert shop.opened[0].closed == 0
    await until(lambda: shop.opened[0].closed == 1)
