"""How a command ends when a signal comes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

import pytest

from llmgine.runtime.commands.output import note
from llmgine.runtime.commands.running import begun, ended_alone, run


async def interrupted() -> None:
    """Runs until Ctrl-C, which comes at once, and says when it is left."""
    try:
        signal.raise_signal(signal.SIGINT)
        await asyncio.Event().wait()
    finally:
        note("left")


def test_what_was_begun_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C while something is up is answered at once, before that is ended."""

    async def main() -> None:
        with begun():
            await interrupted()

    with pytest.raises(KeyboardInterrupt):
        run(main())
    assert capfd.readouterr().err == "interrupted; ending what was started\nleft\n"


def test_nothing_begun_nothing_told(capfd: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C where nothing of ours runs needs no words."""
    with pytest.raises(KeyboardInterrupt):
        run(interrupted())
    assert capfd.readouterr().err == "left\n"


def test_a_part_ends_alone() -> None:
    """Ctrl-C ends the part that can be ended alone; the next one, outside of it, ends all."""
    reached: list[str] = []

    async def main() -> None:
        reached.append(f"part ended: {await ended_alone(interrupted())}")
        await interrupted()
        reached.append("never")

    with pytest.raises(KeyboardInterrupt):
        run(main())
    assert reached == ["part ended: True"]


def test_a_part_that_is_not_interrupted() -> None:
    """A part that comes to its end by itself, or fails, does so."""

    async def fail() -> None:
        raise ZeroDivisionError

    async def main() -> bool:
        with pytest.raises(ZeroDivisionError):
            await ended_alone(fail())
        return await ended_alone(asyncio.sleep(0))

    assert run(main()) is False


def test_handlers_are_put_back() -> None:
    """Outside of a run Ctrl-C does what it did before."""
    before: Callable[..., object] | int | None = signal.getsignal(signal.SIGINT)
    run(asyncio.sleep(0))
    assert signal.getsignal(signal.SIGINT) is before
