"""A tool that is another session: its call runs a turn there, and the reply is its result."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol, Unpack

from pydantic import Field

from llmgine.actors.sessions.errors import ToolDefinitionError, ToolError
from llmgine.actors.sessions.tools.context import Call, ToolContext
from llmgine.actors.sessions.tools.options import ToolOptions
from llmgine.actors.sessions.tools.tool import Tool, as_tools
from llmgine.providers.errors import LlmgineError

if TYPE_CHECKING:
    from llmgine.actors.sessions.tools.policy import ToolPolicy
    from llmgine.actors.sessions.turns.events import Reply
    from llmgine.actors.sessions.turns.limits import Limits

# A turn takes longer than a function; it ends with its parent's in any case.
_TIMEOUT = 600.0


@dataclass(frozen=True, slots=True)
class SubSession:
    """What a session is opened with that another one asks.

    Its id is `<parent>/<name>` with `keep`, so that it remembers what it was asked before; else each call
    has a fresh one, which ends with it. `depth` is how many sessions may wait for each other in a row.
    """

    name: str
    model: str
    system: str | None = None
    tools: tuple[Any, ...] = ()
    engine: Any = None
    policy: ToolPolicy | None = None
    limits: Limits | None = None
    keep: bool = False
    depth: int = 3


class SubSessions(Protocol):
    """Asks other sessions for the tools of one."""

    async def ask(self, sub: SubSession, prompt: str, call: Call) -> Reply: ...


class SessionTool(Tool[..., Any]):
    """A tool with the session that its calls are asked of."""

    def __init__(self, function: Callable[..., Any], sub: SubSession, **options: Any) -> None:
        super().__init__(function, **options)
        self.sub = sub


def session_tool(
    name: str,
    description: str,
    *,
    model: str,
    system: str | None = None,
    tools: Iterable[Any] = (),
    engine: Any = None,
    policy: ToolPolicy | None = None,
    limits: Limits | None = None,
    keep: bool = False,
    depth: int = 3,
    **options: Unpack[ToolOptions],
) -> SessionTool:
    """A tool that asks a session of its own; the model gives it a prompt and is given the reply.

    `description` tells the model what to ask it for. With `keep` the same session is asked each time and
    remembers; else each call begins anew. It has the parent's deadline, is cancelled with it, and stands in
    the parent's trace. What goes wrong there is an error result here. After a crash the parent's turn finds
    what the call has come to, and asks nothing twice. `policy` and `limits` are its own, as for
    `runtime.session`; `options` are those of `@tool`.
    """
    if depth < 1:
        raise ToolDefinitionError(name, f"depth is {depth}; give 1 or more")
    if not isinstance(model, str) or not model:
        raise ToolDefinitionError(name, f"model is {model!r}; name one, as provider/model")
    sub = SubSession(name, model, system, as_tools(tools), engine, policy, limits, keep, depth)

    async def ask(
        prompt: Annotated[str, Field(description="everything that it needs to know to do this")],
        context: ToolContext,
    ) -> str:
        try:
            reply = await context.ask(sub, prompt)
        except LlmgineError as error:
            raise ToolError(f"{name} failed: {type(error).__name__}: {error}") from error
        return reply.text

    given: ToolOptions = {"timeout": _TIMEOUT, "idempotent": True, "trusted": True, **options}
    return SessionTool(ask, sub, name=name, description=description, **given)
