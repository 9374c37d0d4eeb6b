"""Structured output: a Python type to the schema that the model must fit, and the answer back to a value."""

from __future__ import annotations

import re
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import from_json, to_json

from llmgine.providers.contracts import OutputSchema
from llmgine.providers.errors import InvalidRequest, OutputInvalid
from llmgine.providers.mistakes import mistakes

_WRAPPED = "value"
_MOST_PROBLEMS = 5


class OutputType:
    """A type that an answer shall have.

    Protocols ask for a JSON object, so any other type travels as the field "value" of one.
    """

    def __init__(self, kind: Any) -> None:
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(kind)
            schema = self._adapter.json_schema()
        except PydanticUserError as error:
            first = next(iter(str(error).splitlines()), "")
            raise InvalidRequest(
                f"output={kind!r} has no JSON schema: {first}; give a pydantic model"
            ) from None
        self.name = re.sub(r"[^a-zA-Z0-9_-]", "_", getattr(kind, "__name__", "output"))[:64]
        if reference := schema.pop("$ref", None):  # a type that holds itself; providers want its own schema
            schema = {**schema["$defs"][reference.removeprefix("#/$defs/")], "$defs": schema["$defs"]}
        self.wrapped = schema.get("type") != "object"
        if self.wrapped:
            definitions = schema.pop("$defs", None)
            schema = {"type": "object", "properties": {_WRAPPED: schema}, "required": [_WRAPPED]}
            if definitions is not None:
                schema["$defs"] = definitions
        self.schema = OutputSchema(name=self.name, json_schema=schema)

    def parse(self, text: str) -> Any:
        """An answer's text as a value of the type; `OutputInvalid` that says what does not fit."""
        try:
            answer = from_json(text)
        except ValueError as error:
            raise self._invalid(error, text) from None
        return self.value(answer)

    def value(self, answer: Any) -> Any:
        """An answer's JSON, as in `LLMResponse.output`, as a value of the type; `OutputInvalid` likewise."""
        text = to_json(answer)
        try:
            return self._adapter.validate_json(to_json(answer[_WRAPPED]) if self.wrapped else text)
        except (ValueError, KeyError, TypeError) as error:
            raise self._invalid(error, text.decode()) from None

    def _invalid(self, error: Exception, text: str) -> OutputInvalid:
        said: object = error
        if isinstance(error, ValidationError):
            below = f"$.{_WRAPPED}" if self.wrapped else "$"
            said = mistakes(error, most=_MOST_PROBLEMS, below=below)
        return OutputInvalid(f"the answer is no {self.name}: {said}; it was: {text[:500]!r}")
