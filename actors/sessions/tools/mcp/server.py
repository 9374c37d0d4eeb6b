"""An MCP server as a session is given it among its tools."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, Self, TypedDict, Unpack
from urllib.parse import urlsplit

from llmgine.actors.sessions.errors import ToolDefinitionError
from llmgine.actors.sessions.tools.tool import Tool

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,31}")
_SECRET = re.compile(r"\bsecret:([A-Za-z0-9][A-Za-z0-9._-]*)")


class McpOptions(TypedDict, total=False):
    """How calls of a server's tools are made, as options of `@tool`."""

    timeout: float | None
    concurrency: int | None
    retries: int
    idempotent: bool
    approval: bool


class Secrets(Protocol):
    """Finds secrets by name on the node where they are used, and takes what it gave out of texts."""

    def find(self, name: str) -> str: ...

    def masked(self, text: str) -> str: ...


@dataclass(frozen=True, repr=False)
class McpServer:
    """A server whose tools a session uses, each under the name `<name>_<tool>`.

    Made by `McpServer.stdio` or `McpServer.http`. It is connected when the session becomes active and
    again whenever it was lost, and a process that was started for it ends with the session. Values of
    `env` and `headers` may refer to secrets as `secret:NAME`; they are looked up where the session runs
    and shown nowhere. While it cannot be reached, its tools answer that they are unavailable, and why.
    """

    name: str
    command: str = ""
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str | None = None
    url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    options: McpOptions = field(default_factory=McpOptions)
    start_timeout: float = 15.0

    @classmethod
    def stdio(
        cls,
        command: str,
        args: Sequence[str] = (),
        *,
        name: str,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        start_timeout: float = 15.0,
        **options: Unpack[McpOptions],
    ) -> Self:
        """A server that is a program of its own, spoken to over its standard input and output.

        It sees `env` and little of the environment besides. `options` are those of `@tool`, as `timeout`,
        for each of its tools; a turn waits at most `start_timeout` seconds for the server to start.
        """
        if isinstance(args, str):
            raise ToolDefinitionError(name, f"args= is a list of words, not the string {args!r}")
        return cls(
            name=_checked(name, start_timeout, options),
            command=str(command),
            args=tuple(map(str, args)),
            env=_texts(name, "env", env),
            cwd=cwd,
            options=options,
            start_timeout=start_timeout,
        )

    @classmethod
    def http(
        cls,
        url: str,
        *,
        name: str,
        headers: Mapping[str, str] | None = None,
        start_timeout: float = 15.0,
        **options: Unpack[McpOptions],
    ) -> Self:
        """A server at a URL, spoken to over streamable HTTP; `options` as for `stdio`."""
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ToolDefinitionError(name, "its url= is no http:// or https:// address")
        return cls(
            name=_checked(name, start_timeout, options),
            url=url,
            headers=_texts(name, "headers", headers),
            options=options,
            start_timeout=start_timeout,
        )

    def __repr__(self) -> str:
        where = urlsplit(self.url).hostname if self.url else self.command
        return f"McpServer({self.name!r}, {where!r})"

    def declared(self) -> str:
        """All that the declaration says, for a fingerprint; to be shown nowhere."""
        told = (self.name, self.command, self.args, sorted(self.env.items()), self.cwd, self.url)
        return repr((*told, sorted(self.headers.items()), sorted(self.options.items()), self.start_timeout))


def _checked(name: str, start_timeout: float, options: McpOptions) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ToolDefinitionError(
            repr(name), "an MCP server's name is a letter and up to 31 of a-z, A-Z, 0-9, _ and -"
        )
    if not start_timeout > 0:
        raise ToolDefinitionError(name, f"start_timeout is {start_timeout}; give seconds above 0")
    unknown = sorted(options.keys() - McpOptions.__annotations__.keys())
    if unknown:
        raise ToolDefinitionError(name, f"an MCP server has no option {unknown[0]!r}")
    Tool.from_schema(_checked, name=name, description="", parameters={}, **options)
    return name


def _texts(name: str, option: str, given: Mapping[str, str] | None) -> dict[str, str]:
    """What is given to a server; that is told of what is wrong which no secret can be in."""
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise ToolDefinitionError(name, f"{option}= is texts by their names, as {option}={{'NAME': 'text'}}")
    for key, text in given.items():
        if not isinstance(text, str):
            raise ToolDefinitionError(name, f"{option}= has {key!r} as {type(text).__name__}; give a text")
    return dict(given)


def with_secrets(values: Mapping[str, str], find: Callable[[str], str]) -> dict[str, str]:
    """The values with each `secret:NAME` in them looked up."""
    return {key: _SECRET.sub(lambda name: find(name[1]), value) for key, value in values.items()}
