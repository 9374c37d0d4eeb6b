"""Tools: typed functions that a model may call.

`@tool`, bare or with options, makes a `Tool` of a function at once, so that one which cannot be
described is refused where it is written. A plain function in a list of tools takes the same path.
One definition serves every provider; how it runs is `toolset.Toolset`'s part.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any, Generic, ParamSpec, TypeVar, overload

from pydantic import TypeAdapter

from llmgine.actors.sessions.errors import ToolDefinitionError
from llmgine.actors.sessions.tools.schema import (
    Signature,
    arguments_adapter,
    parameters_schema,
    read_docstring,
    read_signature,
    validate_arguments,
)
from llmgine.providers.contracts import ToolSpec

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Tool(Generic[P, R]):
    """A function with what a model needs to call it; calling the tool calls the function.

    `timeout` is in seconds, None for the session's `tool_timeout`; `concurrency` bounds its calls
    at the same time within one session; `idempotent` says that a call may run twice, as after a crash.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | None = None,
        concurrency: int | None = None,
        idempotent: bool = False,
    ) -> None:
        self.function = function
        self.name = _checked_name(function, name)
        if timeout is not None and timeout <= 0:
            raise ToolDefinitionError(
                self.name, f"timeout is {timeout}; give seconds above 0, or leave it out"
            )
        if concurrency is not None and concurrency < 1:
            raise ToolDefinitionError(
                self.name, f"concurrency is {concurrency}; give 1 or more, or leave it out"
            )
        self.timeout = timeout
        self.concurrency = concurrency
        self.idempotent = idempotent
        self._signature: Signature = read_signature(function, self.name)
        told, texts = read_docstring(function)
        self.description = told if description is None else description
        self._adapter: TypeAdapter[dict[str, Any]] | None = arguments_adapter(self._signature, self.name)
        parameters = parameters_schema(self._adapter, self._signature, texts, self.name)
        self.spec = ToolSpec(name=self.name, description=self.description, parameters=parameters)
        functools.update_wrapper(self, function, updated=())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Tool({self.name!r})"

    @property
    def is_async(self) -> bool:
        """Whether it runs on the loop; a sync one runs in a thread."""
        target: Any = self.function
        return inspect.iscoroutinefunction(target) or inspect.iscoroutinefunction(type(target).__call__)

    def validate(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments as the function's own types; ValueError that names each mistake."""
        if self._adapter is None:
            self._adapter = arguments_adapter(self._signature, self.name)
        return validate_arguments(self._adapter, arguments)

    def __getstate__(self) -> dict[str, Any]:
        """Travels without its validator, which is built again from the resolved types."""
        return {**self.__dict__, "_adapter": None}


def _checked_name(function: Callable[..., Any], name: str | None) -> str:
    shown = getattr(function, "__qualname__", None) or repr(function)
    if not callable(function):
        raise ToolDefinitionError(shown, "it is not callable; give a function")
    if inspect.isclass(function):
        raise ToolDefinitionError(shown, "it is a class; give a function that makes one")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ToolDefinitionError(shown, "it is a generator; return one value instead of yielding")
    chosen = getattr(function, "__name__", "") if name is None else name
    if not _NAME.fullmatch(chosen):
        reason = f"the name {chosen!r} is not 1 to 64 of a-z, A-Z, 0-9, _ and -; give @tool(name=...)"
        raise ToolDefinitionError(shown, reason)
    return chosen


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    concurrency: int | None = None,
    idempotent: bool = False,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    concurrency: int | None = None,
    idempotent: bool = False,
) -> Any:
    """Makes a tool of a typed function: `@tool`, or `@tool(timeout=5, ...)`; see `Tool` for the options."""
    options: dict[str, Any] = {
        "name": name,
        "description": description,
        "timeout": timeout,
        "concurrency": concurrency,
        "idempotent": idempotent,
    }
    if function is None:
        return lambda decorated: Tool(decorated, **options)
    return Tool(function, **options)


def as_tools(tools: Iterable[Tool[..., Any] | Callable[..., Any]]) -> tuple[Tool[..., Any], ...]:
    """Each as a `Tool`; two of one name are refused."""
    made = tuple(item if isinstance(item, Tool) else Tool(item) for item in tools)
    seen: set[str] = set()
    for item in made:
        if item.name in seen:
            reason = f"two tools are named {item.name!r}; give one of them @tool(name=...)"
            raise ToolDefinitionError(item.name, reason)
        seen.add(item.name)
    return made
