"""How a typed function becomes a JSON schema and a validator of arguments.

The schema comes from the annotations through pydantic, the texts from the docstring in any of the
Google, NumPy and reST styles. What cannot be described is refused here, before a model sees it.
"""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import docstring_parser
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticSerializationError, SchemaError, to_json, to_jsonable_python
from typing_extensions import TypedDict

from llmgine.actors.sessions.errors import ToolDefinitionError

_REFUSED_KINDS: dict[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "takes *{name}, which has no schema; name each parameter",
    inspect.Parameter.VAR_KEYWORD: "takes **{name}, which has no schema; name each parameter",
    inspect.Parameter.POSITIONAL_ONLY: "parameter {name!r} is positional-only, and models pass arguments by "
    "name; remove the '/' from its signature",
}


@dataclass(frozen=True, slots=True)
class Signature:
    """What a function takes: resolved types in order, and the names that have a default."""

    types: dict[str, Any]
    defaults: dict[str, Any]


class _WithoutTitles(GenerateJsonSchema):
    """Titles repeat the names and cost tokens in each request."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def read_signature(function: Callable[..., Any], name: str) -> Signature:
    """The function's parameters with their types; ToolDefinitionError for one that a model cannot fill."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise ToolDefinitionError(
            name, f"its signature cannot be read ({error}); wrap it in a def"
        ) from error
    hints = _hints(function, name)
    types: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    for parameter in parameters.values():
        refused = _REFUSED_KINDS.get(parameter.kind)
        if refused is not None:
            raise ToolDefinitionError(name, "it " + refused.format(name=parameter.name))
        if parameter.name not in hints:
            reason = f"parameter {parameter.name!r} has no type; annotate it, as in {parameter.name}: str"
            raise ToolDefinitionError(name, reason)
        types[parameter.name] = hints[parameter.name]
        if parameter.default is None and not _admits_none(hints[parameter.name]):
            types[parameter.name] = hints[parameter.name] | None
        if parameter.default is not inspect.Parameter.empty:
            defaults[parameter.name] = parameter.default
    return Signature(types, defaults)


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


def arguments_adapter(signature: Signature, name: str) -> TypeAdapter[dict[str, Any]]:
    """A validator of the arguments as a dict; unknown names are refused, defaults stay the function's."""
    fields: dict[str, Any] = {
        key: typing.NotRequired[kind] if key in signature.defaults else kind
        for key, kind in signature.types.items()
    }
    make: Any = TypedDict  # built from data, which checkers do not follow
    arguments: Any = make("Arguments", fields)
    arguments.__pydantic_config__ = ConfigDict(extra="forbid")
    try:
        return TypeAdapter(arguments)
    except (PydanticUserError, SchemaError, TypeError, NameError) as error:
        raise ToolDefinitionError(name, _unfit(signature, error)) from error


def _unfit(signature: Signature, error: Exception) -> str:
    """Names the first parameter whose type pydantic does not take."""
    mend = "use JSON types, enums, dataclasses or pydantic models"
    for key, kind in signature.types.items():
        try:
            TypeAdapter(kind).json_schema()
        except (PydanticUserError, SchemaError, TypeError, NameError):
            return f"parameter {key!r} has a type that has no JSON schema, {_spell(kind)}; {mend}"
    return f"its parameters have no JSON schema ({_first_line(error)}); {mend}"


def parameters_schema(
    adapter: TypeAdapter[dict[str, Any]], signature: Signature, texts: Mapping[str, str], name: str
) -> dict[str, Any]:
    """JSON schema of type object, with the docstring's texts and the function's defaults."""
    try:
        schema = adapter.json_schema(schema_generator=_WithoutTitles)
    except (PydanticUserError, TypeError) as error:
        raise ToolDefinitionError(name, _unfit(signature, error)) from error
    schema.pop("title", None)
    properties: dict[str, Any] = schema.setdefault("properties", {})
    for key, described in properties.items():
        if key in texts:
            described.setdefault("description", texts[key])
        if key in signature.defaults:
            _set_default(described, signature.defaults[key])
    return schema


def _set_default(described: dict[str, Any], default: Any) -> None:
    """Shows a default to the model where JSON can carry it; the function applies it either way."""
    try:
        described.setdefault("default", to_jsonable_python(default))
    except PydanticSerializationError:
        return


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


def validate_arguments(adapter: TypeAdapter[dict[str, Any]], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the function's types; ValueError whose text tells the model each mistake."""
    try:
        return adapter.validate_json(to_json(arguments))
    except ValidationError as error:
        raise ValueError("; ".join(_mistake(item) for item in error.errors(include_url=False))) from None


def _mistake(item: Any) -> str:
    where = ".".join(str(step) for step in item["loc"]) or "arguments"
    if item["type"] == "extra_forbidden":
        return f"{where}: there is no such parameter"
    if item["type"] == "missing":
        return f"{where}: this parameter is required"
    given = repr(item["input"])
    return f"{where}: {item['msg']}, not {given if len(given) <= 100 else given[:100] + '…'}"


def _spell(kind: Any) -> str:
    return kind.__qualname__ if isinstance(kind, type) else str(kind)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
