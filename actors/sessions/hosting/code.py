"""What a session runs that is its user's own, as it travels to its process and is told from others."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from llmgine.actors import code as travelling
from llmgine.actors.sessions.errors import ToolDefinitionError
from llmgine.actors.sessions.hosting.handlers import SessionHandler, as_handlers
from llmgine.actors.sessions.running.engines import Engine, ToolChatEngine
from llmgine.actors.sessions.tools.mcp.server import McpServer
from llmgine.actors.sessions.tools.policy import ByApproval, ToolPolicy
from llmgine.actors.sessions.tools.subsession import SessionTool, SubSession
from llmgine.actors.sessions.tools.tool import Tool, as_tools
from llmgine.providers.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class SessionCode:
    """What a session runs that is not llmgine's.

    Among the tools plain functions become tools, and MCP servers are set apart into `servers`. Functions
    that are marked with what they handle become `handlers`.
    """

    tools: tuple[Tool[..., Any], ...] = ()
    engine: Engine = field(default_factory=ToolChatEngine)
    servers: tuple[McpServer, ...] = ()
    policy: ToolPolicy = field(default_factory=ByApproval)
    handlers: tuple[SessionHandler, ...] = ()

    def __post_init__(self) -> None:
        given: tuple[Any, ...] = tuple(self.tools)
        tools = as_tools(item for item in given if not isinstance(item, McpServer))
        servers = (*self.servers, *(item for item in given if isinstance(item, McpServer)))
        object.__setattr__(self, "tools", tools)
        object.__setattr__(self, "servers", servers)
        object.__setattr__(self, "handlers", as_handlers(self.handlers))
        for decider, method in self.deciders:
            if isinstance(decider, type) or not callable(getattr(decider, method, None)):
                raise InvalidRequest(
                    f"{decider!r} cannot decide for a session: give an object with a method `{method}`"
                )
        for name, times in Counter(server.name for server in servers).items():
            if times > 1:
                raise ToolDefinitionError(name, "two MCP servers have this name; give one of them another")

    @property
    def deciders(self) -> tuple[tuple[Any, str], ...]:
        """The objects that decide for the session, each with the name of the method that does."""
        return (self.engine, "next"), (self.policy, "decide")


def pack(code: SessionCode) -> bytes:
    """The code as bytes for `unpack` in another process; UnsendableCode names what cannot go along."""
    deciders = [decider for decider, _ in code.deciders]
    return travelling.pack(code, parts=(*code.tools, *deciders, *code.handlers), roots=_roots(code))


def _roots(code: SessionCode) -> list[Any]:
    """The functions and classes from which the user's own modules are reached."""
    functions: list[Any] = [tool.function for tool in code.tools]
    functions += [handler.function for handler in code.handlers]
    handled = [mark.message_class for handler in code.handlers for mark in handler.marks]
    roots = [*functions, *handled, *(type(decider) for decider, _ in code.deciders)]
    return roots + [root for _, asked in _asked(code) for root in _roots(asked)]


def _asked(code: SessionCode) -> list[tuple[SubSession, SessionCode]]:
    """The sessions that its tools ask, with their code."""
    subs = [item.sub for item in code.tools if isinstance(item, SessionTool)]
    return [(sub, code_of(sub)) for sub in subs]


def code_of(sub: SubSession) -> SessionCode:
    """What a session runs that a tool asks."""
    return SessionCode(sub.tools, sub.engine or ToolChatEngine(), policy=sub.policy or ByApproval())


def unpack(data: bytes) -> SessionCode:
    """The code that `pack` wrote; CodeUnavailable says what is missing here."""
    return travelling.unpack(data, SessionCode)


def fingerprint(code: SessionCode) -> str:
    """Equal for equal code in every process of one Python version, which packed bytes are not.

    It sees what the model sees of each tool, its options, and the compiled body of its function; of the
    engine and the policy their class, their repr, and the body of the method that decides; of each handler
    its name, what it handles, with which options, and its body.
    """
    digest = hashlib.sha256()
    for item in code.tools:
        digest.update(item.spec.model_dump_json().encode())
        digest.update(repr(item.options).encode())
        digest.update(_body(getattr(item.function, "__code__", None)))
    for sub, asked in _asked(code):
        digest.update(repr((sub.name, sub.model, sub.system, sub.keep, sub.depth, sub.limits)).encode())
        digest.update(fingerprint(asked).encode())
    for server in code.servers:
        digest.update(server.declared().encode())
    for decider, method in code.deciders:
        kind: Any = type(decider)
        shown = "" if kind.__repr__ is object.__repr__ else repr(decider)
        digest.update(f"{kind.__qualname__} {shown}".encode())
        digest.update(_body(getattr(getattr(decider, method, None), "__code__", None)))
    for handler in code.handlers:
        handled = [(mark.message_class.__wire_name__, repr(mark.options)) for mark in handler.marks]
        digest.update(repr((handler.name, handled)).encode())
        digest.update(_body(getattr(handler.function, "__code__", None)))
    return digest.hexdigest()


def _body(code: Any) -> bytes:
    if not isinstance(code, CodeType):
        return repr(sorted(map(repr, code)) if isinstance(code, frozenset) else code).encode()
    return b"|".join([code.co_code, repr(code.co_names).encode(), *map(_body, code.co_consts)])
