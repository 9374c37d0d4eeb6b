"""Whether a session may share its process with others."""

from __future__ import annotations

from typing import Literal

from llmgine.actors.sessions import ToolDefinitionError
from llmgine.actors.sessions.hosting.code import SessionCode

Placement = Literal["dedicated", "pooled"]


def placed(
    wished: Placement | None, default: Placement, code: SessionCode | None, trusted: bool
) -> Placement:
    """Where the session goes; `ToolDefinitionError` where what it runs may not go where it was wished to.

    By default a session whose code may not share a process has one of its own.
    """
    stranger = None if code is None or trusted else _untrusted(code)
    if stranger is None:
        return wished or default
    if wished == "pooled":
        raise ToolDefinitionError(
            stranger,
            "it would run in a process that several sessions share: have its calls run elsewhere, with "
            "@tool(process=True) or remote=True, say @tool(trusted=True) or runtime.session(trusted=True), "
            "or leave the session its own actor, placement='dedicated'",
        )
    return "dedicated"


def _untrusted(code: SessionCode) -> str | None:
    """The first part that runs in the session's own process, is the user's, and is not trusted."""
    for tool in code.tools:
        if not (tool.isolated or tool.trusted):
            return tool.name
    for decider, _ in code.deciders:
        if not type(decider).__module__.startswith("llmgine."):
            return type(decider).__qualname__
    return code.handlers[0].name if code.handlers else None
