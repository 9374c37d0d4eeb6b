"""What the signature of a function says: its parameters, their types and defaults, and their texts."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import docstring_parser

from llmgine.actors.sessions.errors import ToolDefinitionError
from llmgine.actors.sessions.tools.context import ToolContext

_REFUSED_KINDS: dict[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "takes *{name}, which has no schema; name each parameter",
    inspect.Parameter.VAR_KEYWORD: "takes **{name}, which has no schema; name each parameter",
    inspect.Parameter.POSITIONAL_ONLY: "parameter {name!r} is positional-only, and models pass arguments by "
    "name; remove the '/' from its signature",
}


@dataclass(frozen=True, slots=True)
class Signature:
    """What a function takes: resolved types in order, and the names that have a default.

    `context` names the parameter that receives the `ToolContext`, which is none of the types.
    """

    types: dict[str, Any]
    defaults: dict[str, Any]
    context: str | None = None


def read_signature(function: Callable[..., Any], name: str, *, skip: int = 0) -> Signature:
    """The function's parameters with their types; ToolDefinitionError for one that a model cannot fill.

    The first `skip` parameters are given by others, as `self` is.
    """
    try:
        parameters = list(inspect.signature(function).parameters.values())[skip:]
    except (TypeError, ValueError) as error:
        raise ToolDefinitionError(
            name, f"its signature cannot be read ({error}); wrap it in a def"
        ) from error
    hints = _hints(function, name)
    types: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    context: str | None = None
    for parameter in parameters:
        refused = _REFUSED_KINDS.get(parameter.kind)
        if refused is not None:
            raise ToolDefinitionError(name, "it " + refused.format(name=parameter.name))
        if parameter.name not in hints:
            reason = f"parameter {parameter.name!r} has no type; annotate it, as in {parameter.name}: str"
            raise ToolDefinitionError(name, reason)
        if _is_context(hints[parameter.name]):
            context = parameter.name
            continue
        types[parameter.name] = hints[parameter.name]
        if parameter.default is None and not _admits_none(hints[parameter.name]):
            types[parameter.name] = hints[parameter.name] | None
        if parameter.default is not inspect.Parameter.empty:
            defaults[parameter.name] = parameter.default
    return Signature(types, defaults, context)


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    target: Any = _without_partial(function)
    if not inspect.isroutine(target) and not inspect.isclass(target):
        target = type(target).__call__
    try:
        return typing.get_type_hints(_Parameters(target), include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError) as error:
        reason = f"its annotations cannot be resolved ({error}); define or import the type at module level"
        raise ToolDefinitionError(name, reason) from error


def _admits_none(hint: Any) -> bool:
    """Whether None stands in an annotation; `x: str = None` is common, and takes None all the same."""
    if typing.get_origin(hint) is typing.Annotated:
        return _admits_none(typing.get_args(hint)[0])
    return hint in (None, type(None), Any) or type(None) in typing.get_args(hint)


def _is_context(hint: Any) -> bool:
    """Whether it is the context's class, alone, with None, or annotated."""
    return hint is ToolContext or ToolContext in typing.get_args(hint)


class _Parameters:
    """A function as its parameters alone; what it returns need not be known when it runs."""

    def __init__(self, function: Any) -> None:
        function = inspect.unwrap(function)
        hints = getattr(function, "__annotations__", {})
        self.__annotations__ = {name: hint for name, hint in hints.items() if name != "return"}
        self.__globals__ = getattr(function, "__globals__", {})
        self.__type_params__ = getattr(function, "__type_params__", ())


def _without_partial(function: Any) -> Any:
    """What a `functools.partial` calls; its own annotations and docstring say nothing."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def read_docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """The description, and the text of each parameter."""
    text = inspect.getdoc(_without_partial(function)) or ""
    try:
        parsed = docstring_parser.parse(text)
    except docstring_parser.ParseError:
        return text.strip(), {}
    told = [part.strip() for part in (parsed.short_description, parsed.long_description) if part]
    texts = {entry.arg_name: entry.description.strip() for entry in parsed.params if entry.description}
    return "\n\n".join(told), texts
