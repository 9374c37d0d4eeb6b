"""What a tool takes: a function's typed parameters, the fields of a model, or a schema as it is given."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import SchemaError, to_json

from llmgine.actors.sessions.errors import ToolDefinitionError
from llmgine.actors.sessions.tools.schema import (
    WithoutTitles,
    arguments_adapter,
    describe,
    mistakes,
    parameters_schema,
    validate_arguments,
)
from llmgine.actors.sessions.tools.signature import Signature, read_docstring, read_signature


class Parameters(Protocol):
    """A tool's arguments: as a model is shown them, and as the function takes them."""

    @property
    def schema(self) -> dict[str, Any]: ...

    @property
    def told(self) -> str:
        """What the docstring says of the whole."""
        ...

    @property
    def context(self) -> str | None:
        """The parameter that receives the `ToolContext`."""
        ...

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Keyword arguments for the function; ValueError that names each mistake."""
        ...


class FunctionParameters:
    """Read from annotations and docstring."""

    def __init__(self, function: Callable[..., Any], name: str) -> None:
        self._name = name
        self._signature: Signature = read_signature(function, name)
        self.context = self._signature.context
        self.told, texts = read_docstring(function)
        self._adapter: TypeAdapter[dict[str, Any]] | None = arguments_adapter(self._signature, name)
        self.schema = parameters_schema(self._adapter, self._signature, texts, name)

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if self._adapter is None:
            self._adapter = arguments_adapter(self._signature, self._name)
        return validate_arguments(self._adapter, arguments)

    def __getstate__(self) -> dict[str, Any]:
        """Travels without its validator, which is built again from the resolved types."""
        return {**self.__dict__, "_adapter": None}


class ModelParameters:
    """The fields of a pydantic model whose method is the function."""

    def __init__(self, model: type[BaseModel], method: Callable[..., Any], name: str) -> None:
        self._model = model
        signature = read_signature(method, name, skip=1)
        for other in signature.types.keys() - signature.defaults.keys():
            reason = f"{method.__name__} takes {other!r}, which nobody gives; make it a field of the model"
            raise ToolDefinitionError(name, reason)
        self.context = signature.context
        self.told, texts = read_docstring(model) if vars(model).get("__doc__") else ("", {})
        try:
            schema = model.model_json_schema(schema_generator=WithoutTitles)
        except (PydanticUserError, SchemaError, TypeError) as error:
            raise ToolDefinitionError(name, f"its fields have no JSON schema: {error}") from error
        schema.pop("description", None)
        self.schema = describe(schema, texts, {})

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return {"self": self._model.model_validate_json(to_json(arguments))}
        except ValidationError as error:
            raise ValueError(mistakes(error)) from None


class GivenParameters:
    """A JSON schema of others, who check what they are given: the function takes the arguments as a dict."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = dict(schema)
        self.told = ""
        self.context = "context"

    def validate(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        return {"arguments": dict(arguments)}


def method_of(model: type[BaseModel], name: str) -> Callable[..., Any]:
    """What runs a model that is a tool: its `run`, else its `__call__`."""
    for chosen in ("run", "__call__"):
        method = inspect.getattr_static(model, chosen, None)
        if inspect.isfunction(method):
            return method
    raise ToolDefinitionError(name, "the model has no method `run(self)`, which is to do the tool's work")
