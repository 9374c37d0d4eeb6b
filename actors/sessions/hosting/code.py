"""A session's tools and engine, as they travel to its process and are told from others."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from llmgine.actors import code as travelling
from llmgine.actors.sessions.running.engines import Engine, ToolChatEngine
from llmgine.actors.sessions.tools.tool import Tool, as_tools


@dataclass(frozen=True, slots=True)
class SessionCode:
    """What a session runs that is not llmgine's; plain functions become tools."""

    tools: tuple[Tool[..., Any], ...] = ()
    engine: Engine = field(default_factory=ToolChatEngine)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tools", as_tools(self.tools))


def pack(tools: Iterable[Any] = (), engine: Engine | None = None) -> bytes:
    """The code as bytes for `unpack` in another process; UnsendableCode names what cannot go along."""
    code = SessionCode(tuple(tools), ToolChatEngine() if engine is None else engine)
    roots = [*(tool.function for tool in code.tools), type(code.engine)]
    return travelling.pack(code, parts=(*code.tools, code.engine), roots=roots)


def unpack(data: bytes) -> SessionCode:
    """The code that `pack` wrote; CodeUnavailable says what is missing here."""
    return travelling.unpack(data, SessionCode)


def fingerprint(code: SessionCode) -> str:
    """Equal for equal tools and engine in every process of one Python version, which packed bytes are not.

    It sees what the model sees of each tool, its options, and the compiled body of its function.
    """
    digest = hashlib.sha256()
    for item in code.tools:
        digest.update(item.spec.model_dump_json().encode())
        digest.update(repr(item.options).encode())
        digest.update(_body(getattr(item.function, "__code__", None)))
    engine = type(code.engine)
    shown = "" if engine.__repr__ is object.__repr__ else repr(code.engine)
    digest.update(f"{engine.__qualname__} {shown}".encode())
    digest.update(_body(getattr(engine.next, "__code__", None)))
    return digest.hexdigest()


def _body(code: Any) -> bytes:
    if not isinstance(code, CodeType):
        return repr(sorted(map(repr, code)) if isinstance(code, frozenset) else code).encode()
    return b"|".join([code.co_code, repr(code.co_names).encode(), *map(_body, code.co_consts)])
