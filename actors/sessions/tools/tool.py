"""Tools: typed functions that a model may call.

`@tool`, bare or with options, makes a `Tool` of a function at once, so that one which cannot be
described is refused where it is written. A plain function in a list of tools takes the same path, and
so does a pydantic model with a method `run`. One definition serves every provider; how it runs is
`toolset.Toolset`'s part.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Generic, ParamSpec, Self, TypeVar, Unpack, overload

from pydantic import BaseModel

from llmgine.actors.sessions.errors import ToolDefinitionError
from llmgine.actors.sessions.tools.options import NamedOptions, ToolOptions, mistakes
from llmgine.actors.sessions.tools.parameters import (
    FunctionParameters,
    GivenParameters,
    ModelParameters,
    Parameters,
    method_of,
)
from llmgine.providers.contracts import ToolSpec

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Tool(Generic[P, R]):
    """A function with what a model needs to call it; calling the tool calls the function.

    `timeout` is in seconds for one attempt, None for the session's `tool_timeout`; `concurrency` bounds
    its calls at the same time within one session. `retries` says how often a call that failed is made
    again, which may be more than once for the world outside; `idempotent` that a call may run twice, as
    after a crash. With `approval` each call waits until somebody allows it, for `approval_expiry` seconds
    where that is set, else for those of the session. `process` runs each call in a process of its own,
    which may take `memory` bytes and is ended with its timeout; `remote` as a task of the Ray cluster,
    which holds `num_cpus`, `num_gpus` and `resources` meanwhile. `trusted` lets it run in a process that
    several sessions share.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        **options: Unpack[ToolOptions],
    ) -> None:
        self.name = _checked_name(function, name)
        self._parameters: Parameters
        self.function: Callable[P, R] = function
        if parameters is not None:
            _check_schema(self.name, parameters)
            self._parameters = GivenParameters(parameters)
        elif inspect.isclass(function) and issubclass(function, BaseModel):
            self.function = method_of(function, self.name)
            self._parameters = ModelParameters(function, self.function, self.name)
        else:
            self._parameters = FunctionParameters(function, self.name)
        self._set(options)
        self.description = self._parameters.told if description is None else description
        if not isinstance(self.description, str):
            raise ToolDefinitionError(self.name, f"description is {description!r}; give a text")
        self.spec = ToolSpec(name=self.name, description=self.description, parameters=self._parameters.schema)
        functools.update_wrapper(self, function, updated=())

    def _set(self, options: ToolOptions) -> None:
        for wrong in mistakes(options):
            raise ToolDefinitionError(self.name, wrong)
        self.timeout = options.get("timeout")
        self.concurrency = options.get("concurrency")
        self.retries = options.get("retries", 0)
        self.idempotent = options.get("idempotent", False)
        self.approval = options.get("approval", False)
        self.approval_expiry = options.get("approval_expiry")
        self.trusted = options.get("trusted", False)
        self.process = options.get("process", False)
        self.memory = options.get("memory")
        self.remote = options.get("remote", False)
        self.num_cpus = options.get("num_cpus", 1.0)
        self.num_gpus = options.get("num_gpus", 0.0)
        self.resources = dict(options.get("resources", {}))

    @classmethod
    def from_schema(
        cls,
        function: Callable[P, R],
        *,
        name: str,
        description: str,
        parameters: Mapping[str, Any],
        **options: Unpack[ToolOptions],
    ) -> Self:
        """A tool of a JSON schema: `function(arguments, context)` takes what the model gave, unchecked."""
        return cls(function, name=name, description=description, parameters=parameters, **options)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"Tool({self.name!r})"

    @property
    def is_async(self) -> bool:
        """Whether it runs on the loop; a sync one runs in a thread."""
        target: Any = self.function
        return any(
            test(one)
            for one in (target, type(target).__call__)
            for test in (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
        )

    @property
    def isolated(self) -> bool:
        """Whether its code runs outside of the session's own process."""
        return self.process or self.remote

    @property
    def options(self) -> dict[str, Any]:
        """Every option by its name."""
        return {name: getattr(self, name) for name in ToolOptions.__annotations__}

    @property
    def context_parameter(self) -> str | None:
        """The parameter that receives the `ToolContext`, None where there is none."""
        return self._parameters.context

    def validate(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments as the function's own types; ValueError that names each mistake."""
        return self._parameters.validate(arguments)


def _checked_name(function: Callable[..., Any], name: str | None) -> str:
    shown = getattr(function, "__qualname__", None) or repr(function)
    if not callable(function):
        raise ToolDefinitionError(shown, "it is not callable; give a function")
    if inspect.isclass(function) and not issubclass(function, BaseModel):
        raise ToolDefinitionError(shown, "it is a class; give a function, or a pydantic model with `run`")
    chosen = getattr(function, "__name__", "") if name is None else name
    if not isinstance(chosen, str) or not _NAME.fullmatch(chosen):
        reason = f"the name {chosen!r} is not 1 to 64 of a-z, A-Z, 0-9, _ and -; give @tool(name=...)"
        raise ToolDefinitionError(shown, reason)
    return chosen


def _check_schema(name: str, parameters: Any) -> None:
    if not isinstance(parameters, Mapping) or parameters.get("type", "object") != "object":
        raise ToolDefinitionError(
            name, "parameters= is a JSON schema of type object, as {'type': 'object', 'properties': {…}}"
        )


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...


@overload
def tool(**options: Unpack[NamedOptions]) -> Callable[[Callable[P, R]], Tool[P, R]]: ...


def tool(function: Callable[..., Any] | None = None, /, **options: Unpack[NamedOptions]) -> Any:
    """Makes a tool of a typed function: `@tool`, or `@tool(timeout=5, ...)`; see `Tool` for the options."""
    if function is None:
        return lambda decorated: Tool(decorated, **options)
    return Tool(function, **options)


def as_tools(tools: Iterable[Tool[..., Any] | Callable[..., Any]]) -> tuple[Tool[..., Any], ...]:
    """Each as a `Tool`; two of one name are refused."""
    if isinstance(tools, str) or not isinstance(tools, Iterable):
        raise ToolDefinitionError(repr(tools), "tools= is a list of them, as tools=[…]")
    made = tuple(item if isinstance(item, Tool) else Tool(item) for item in tools)
    seen: set[str] = set()
    for item in made:
        if item.name in seen:
            reason = f"two tools are named {item.name!r}; give one of them @tool(name=...)"
            raise ToolDefinitionError(item.name, reason)
        seen.add(item.name)
    return made
