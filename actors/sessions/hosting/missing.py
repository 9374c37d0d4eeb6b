"""What stands in for a session's code that cannot be loaded where the session wakes."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, NoReturn

from llmgine.actors.code import CodeUnavailable
from llmgine.actors.sessions.hosting.code import SessionCode
from llmgine.actors.sessions.tools.tool import Tool


def without_code(tools: Iterable[dict[str, Any]], reason: str) -> SessionCode:
    """Tools of these descriptions, each of whose calls says why there is none; llmgine's own engine."""
    return SessionCode(
        tuple(
            Tool.from_schema(
                partial(_unavailable, told["name"], reason),
                name=told["name"],
                description=told["description"],
                parameters=told["parameters"],
            )
            for told in tools
        )
    )


async def _unavailable(name: str, reason: str, arguments: dict[str, Any], context: Any) -> NoReturn:
    raise CodeUnavailable(f"the tool {name} is unavailable: {reason}")
