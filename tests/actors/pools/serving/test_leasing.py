"""Calls that wait for leases, and leave."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from llmgine.actors.pools.serving.leasing import Leasing
from llmgine.providers import LLMRequest, Message
from llmgine.providers.options import ProvidersOptions

REQUEST = LLMRequest(model="house/m", messages=(Message.user("hi"),))


class Book:
    """Books nothing at once; `bring` books for the first that waits."""

    def __init__(self) -> None:
        self.waiting: list[Any] = []
        self.brought: list[tuple[Any, str]] = []
        self.released: list[str] = []

    def take(self, *asked: Any) -> None:
        return None

    def beyond(self, *asked: Any) -> None:
        return None

    def wait(self, waiting: Any) -> None:
        self.waiting.append(waiting)

    def leave(self, waiting: Any) -> None:
        self.waiting.remove(waiting)

    def bring(self) -> None:
        self.brought.append((self.waiting[0], "a booking"))

    def serve(self, now: float) -> list[tuple[Any, str]]:
        brought, self.brought = self.brought, []
        return brought

    def vain(self, now: float) -> list[Any]:
        return []

    def due(self, now: float) -> None:
        return None

    def release(self, booked: str, now: float) -> None:
        self.released.append(booked)


class Called:
    request = REQUEST
    session = "s"


@pytest.mark.parametrize("how", ["cancelled", "late"])
async def test_a_booking_that_comes_as_its_call_is_given_up_is_given_back(how: str) -> None:
    """Nobody else would: it is not counted as used for ever."""
    limited = {"kind": "openai-compatible", "base_url": "http://h/v1", "limits": {"concurrency": 1}}
    providers = ProvidersOptions.model_validate({"endpoints": {"house": limited}})
    leasing, book = Leasing("provider-house-0", 1, "house", providers, lambda kind, body: None), Book()
    leasing._book = book  # type: ignore[assignment]
    loop = asyncio.get_running_loop()
    until = loop.time() + (60.0 if how == "cancelled" else 0.02)
    keys = [*providers.endpoints["house"].limits_of_keys]
    waiting = asyncio.create_task(leasing.wait(keys, "m", Called(), until))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert book.waiting

    def bring() -> None:
        book.bring()
        leasing._serve()
        if how == "cancelled":
            waiting.cancel()

    if how == "cancelled":
        bring()
    else:
        loop.call_at(until - 1e-9, bring)  # it is due in the same turn of the loop as the end of the wait
    outcome, *_ = await asyncio.gather(waiting, return_exceptions=True)
    assert isinstance(outcome, BaseException)
    assert book.released == ["a booking"]
    assert not book.waiting
