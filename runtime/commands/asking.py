"""What a command asks of a runtime that runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from llmgine.runtime.commands.output import waiting
from llmgine.runtime.commands.preflight import check_runs
from llmgine.runtime.commands.running import run

if TYPE_CHECKING:
    from llmgine.runtime import Runtime

T = TypeVar("T")


def ask(name: str, question: Callable[[Runtime], Awaitable[T]], doing: str = "") -> T:
    """Joins the runtime of that name, asks it, and leaves; a line says so, or what is done instead."""
    check_runs(name)

    async def asked() -> T:
        from llmgine.runtime import Runtime

        async with Runtime.connect(name=name) as runtime:
            return await question(runtime)

    with waiting(doing or f"asking runtime {name}"):
        return run(asked())
