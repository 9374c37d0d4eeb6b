"""What a command asks of the telemetry of a runtime."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from llmgine.runtime.commands.asking import ask

if TYPE_CHECKING:
    from llmgine.actors.telemetry import TelemetryClient
    from llmgine.runtime import Runtime

T = TypeVar("T")


def ask_telemetry(name: str, question: Callable[[TelemetryClient], Awaitable[T]]) -> T:
    """The answer of the telemetry actor of the runtime of that name."""

    async def asked(runtime: Runtime) -> T:
        return await question(runtime.telemetry)

    return ask(name, asked)
