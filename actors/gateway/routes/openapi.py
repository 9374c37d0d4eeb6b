"""The description of the runtime's own interface, made of the same table as its routes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from llmgine.actors.gateway.errors import (
    Conflict,
    Forbidden,
    Internal,
    MalformedRequest,
    NotFound,
    NotReady,
    Refusal,
    TooLarge,
    TooManyRequests,
    TooSlow,
    Unauthorised,
    Unprocessable,
    Upstream,
    WrongContentType,
    WrongMethod,
)
from llmgine.actors.gateway.routes.table import PREFIX, Endpoint
from llmgine.actors.gateway.shapes import ErrorAnswer

_TEMPLATE = "#/components/schemas/{model}"
_ALWAYS = (Unauthorised, Forbidden, NotFound, WrongMethod, Unprocessable, TooManyRequests, Internal, NotReady)
_OF_MODELS = (Conflict, Upstream)
_OF_BODIES = (MalformedRequest, TooSlow, TooLarge, WrongContentType)


def description(endpoints: Iterable[Endpoint], version: str) -> dict[str, Any]:
    """An OpenAPI 3.1 document."""
    table = tuple(endpoints)
    asked: list[tuple[type[BaseModel], JsonSchemaMode]] = [(ErrorAnswer, "serialization")]
    for one in table:
        asked += [(one.answer, "serialization")] if one.answer is not None else []
        asked += [(one.body, "validation")] if one.body is not None else []
    named, schemas = models_json_schema(asked, ref_template=_TEMPLATE)
    paths: dict[str, Any] = {}
    for one in table:
        paths.setdefault(f"{PREFIX}{one.path}", {})[one.method.lower()] = _operation(one, named)
    for path, what in {
        "/health": "Whether the gateway lives",
        "/ready": "Whether its runtime is there",
    }.items():
        paths[path] = {"get": _plain(path, what)}
    schemes = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "llmgine",
            "version": version,
            "description": "A runtime's own interface. What stands below /v1 is as OpenAI and Anthropic "
            "describe it.",
        },
        "paths": paths,
        "components": {"schemas": schemas["$defs"], "securitySchemes": schemes},
        "security": [{}, *({name: []} for name in schemes)],
    }


def _operation(one: Endpoint, named: Any) -> dict[str, Any]:
    if one.answer is None:
        content: dict[str, Any] = {"text/event-stream": {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": named[one.answer, "serialization"]}}
    refusals = [*_ALWAYS, *_OF_MODELS, *(_OF_BODIES if one.body is not None else ())]
    operation: dict[str, Any] = {
        "operationId": _identifier(one),
        "summary": one.summary,
        "parameters": [*_path_parameters(one), *_query_parameters(one)],
        "responses": {"200": {"description": one.summary, "content": content}, **_refused(refusals)},
    }
    if one.body is not None:
        schema = named[one.body, "validation"]
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _path_parameters(one: Endpoint) -> list[dict[str, Any]]:
    schema = {"type": "string", "minLength": 1}
    return [{"name": name, "in": "path", "required": True, "schema": schema} for name in one.names]


def _query_parameters(one: Endpoint) -> list[dict[str, Any]]:
    if one.query is None:
        return []
    schema = one.query.model_json_schema(ref_template=_TEMPLATE)
    return [
        {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": _given(field)}
        for name, field in schema.get("properties", {}).items()
    ]


def _given(field: dict[str, Any]) -> dict[str, Any]:
    """A field's schema without null, which a query has no way to say."""
    choices = [choice for choice in field.get("anyOf", ()) if choice.get("type") != "null"]
    rest = {name: value for name, value in field.items() if name not in ("anyOf", "default", "title")}
    if field.get("default") is not None:
        rest["default"] = field["default"]
    return {**choices[0], **rest} if len(choices) == 1 else {**field, **rest}


def _refused(refusals: Iterable[type[Refusal]]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": _TEMPLATE.format(model=ErrorAnswer.__name__)}}}
    return {
        str(refusal.status): {"description": (refusal.__doc__ or "").split(";")[0], "content": content}
        for refusal in sorted(refusals, key=lambda one: one.status)
    }


def _plain(path: str, what: str) -> dict[str, Any]:
    answer = {"type": "object", "properties": {"status": {"type": "string"}}, "required": ["status"]}
    return {
        "operationId": path.strip("/"),
        "summary": what,
        "responses": {
            "200": {"description": what, "content": {"application/json": {"schema": answer}}},
            **_refused([Forbidden, WrongMethod, NotReady]),
        },
    }


def _identifier(one: Endpoint) -> str:
    words = re.findall(r"[a-z]+", f"{one.method.lower()} {one.path}")
    return "_".join(words)
