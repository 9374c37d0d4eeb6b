"""How the parameters of a tool become a JSON schema and a validator of arguments.

The schema comes from the annotations through pydantic, the texts from the docstring. What cannot be
described is refused here, before a model sees it.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import PydanticSerializationError, SchemaError, to_json, to_jsonable_python
from typing_extensions import TypedDict

from llmgine.actors.sessions.errors import ToolDefinitionError
from llmgine.actors.sessions.tools.signature import Signature


class WithoutTitles(GenerateJsonSchema):
    """Titles repeat the names and cost tokens in each request."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


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
        schema = adapter.json_schema(schema_generator=WithoutTitles)
    except (PydanticUserError, TypeError) as error:
        raise ToolDefinitionError(name, _unfit(signature, error)) from error
    return describe(schema, texts, signature.defaults)


def describe(schema: dict[str, Any], texts: Mapping[str, str], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with these texts and defaults where it has none of its own."""
    schema.pop("title", None)
    properties: dict[str, Any] = schema.setdefault("properties", {})
    for key, described in properties.items():
        if key in texts:
            described.setdefault("description", texts[key])
        if key in defaults:
            _set_default(described, defaults[key])
    return schema


def _set_default(described: dict[str, Any], default: Any) -> None:
    """Shows a default to the model where JSON can carry it; the function applies it either way."""
    try:
        described.setdefault("default", to_jsonable_python(default))
    except PydanticSerializationError:
        return


def validate_arguments(adapter: TypeAdapter[dict[str, Any]], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the function's types; ValueError whose text tells the model each mistake."""
    try:
        return adapter.validate_json(to_json(arguments))
    except ValidationError as error:
        raise ValueError(mistakes(error)) from None


def mistakes(error: ValidationError) -> str:
    """Each mistake with its place and with what was given, for the model."""
    return "; ".join(_mistake(item) for item in error.errors(include_url=False))


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
