"""JSON schemas in the dialects of the providers, each with what differs from what was asked.

Every answer that fits a strict dialect fits the asked schema in its shape, after `restore`; bounds that a
dialect has no keyword for are said in descriptions, so an answer is still to be checked. A schema that a
dialect has no words for is given back as it is and not strict: nothing is weakened unsaid.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jiter import from_json

from llmgine.providers.codecs.assembly import compact
from llmgine.providers.codecs.schema.restoring import Restoring
from llmgine.providers.codecs.schema.writer import Inexpressible, Rules, Writer

_REMEMBERED = 512
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_SCALARS = ("string", "integer", "number", "boolean", "null")
_NUMBERS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})

_OPENAI = Rules(
    bounds=_NUMBERS | {"pattern", "minItems", "maxItems"}, formats=_FORMATS, values=_SCALARS, whole=True
)
_ANTHROPIC = Rules(
    bounds=frozenset({"minItems 0 or 1"}),
    formats=_FORMATS | {"uri"},
    values=_SCALARS,
    type_lists=False,
    recursion="none",
)
_GEMINI = Rules(
    bounds=frozenset({"minItems", "maxItems", "minimum", "maximum"}),
    formats=_FORMATS,
    values=("string", "integer", "number"),
    closed=False,
    untyped=True,
    const=False,
    tuples=True,
    recursion="optional",
)
_GEMINI_LEGACY = Rules(
    bounds=frozenset({"minItems", "maxItems"}),
    formats=frozenset({"date-time"}),
    values=("string",),
    type_lists=False,
    const=False,
    references=False,
    recursion="none",
)


@dataclass(frozen=True, slots=True)
class Dialect:
    """A schema as one provider takes it, and in words what differs from the one that was asked.

    With `strict` the provider can hold the model to `schema`; else it is the asked schema, for the model
    to read, and the only difference is why. It is made once and shared, so `schema` must not be changed.
    """

    schema: dict[str, Any]
    differences: tuple[str, ...]
    strict: bool


def openai_strict(schema: Mapping[str, Any]) -> Dialect:
    """OpenAI's strict mode: closed objects, every property required; optional ones may be null."""
    return _dialect(schema, _OPENAI)


def anthropic_output(schema: Mapping[str, Any]) -> Dialect:
    """Anthropic's output format and strict tools: closed objects, no recursion, hardly any bounds."""
    return _dialect(schema, _ANTHROPIC)


def gemini_json(schema: Mapping[str, Any]) -> Dialect:
    """Gemini's `responseJsonSchema` and `parametersJsonSchema`, which ignore any keyword but a few."""
    return _dialect(schema, _GEMINI)


def gemini_legacy(schema: Mapping[str, Any]) -> Dialect | None:
    """Gemini's first `responseSchema`, a small part of OpenAPI 3.0; None for what it has no words for."""
    dialect = _dialect(schema, _GEMINI_LEGACY)
    if not dialect.strict:
        return None
    try:
        return Dialect(_open_api(dialect.schema), dialect.differences, strict=True)
    except Inexpressible:
        return None


def restore(value: Any, schema: Mapping[str, Any]) -> Any:
    """An answer in terms of the asked `schema`: nulls that stand for left out properties are taken out."""
    try:
        return Restoring(schema).restored(value, schema)
    except RecursionError:  # a union that only ever leads back to itself
        return value


def _dialect(schema: Mapping[str, Any], rules: Rules) -> Dialect:
    return _compiled(compact(schema), rules)


@functools.lru_cache(maxsize=_REMEMBERED)
def _compiled(text: str, rules: Rules) -> Dialect:
    schema: dict[str, Any] = from_json(text.encode())
    writer = Writer(schema, rules)
    try:
        return Dialect(copy.deepcopy(writer.write()), writer.differences, strict=True)
    except Inexpressible as error:
        reason = str(error)
    except (ValueError, TypeError, AttributeError, LookupError):
        reason = "it is no valid JSON schema"
    return Dialect(schema, (f"not enforced by the provider: {reason}",), strict=False)


def _open_api(schema: dict[str, Any]) -> dict[str, Any]:
    """A schema whose null is `nullable` and whose types are in capitals; it has no unions else."""
    result = {name: each for name, each in schema.items() if name not in ("additionalProperties", "title")}
    if schema.get("type") == "object" and not schema.get("properties"):
        raise Inexpressible("an object without properties is refused")
    if "properties" in result:
        result["properties"] = {name: _open_api(each) for name, each in result["properties"].items()}
        if not result["required"]:
            del result["required"]
    if "items" in result:
        result["items"] = _open_api(result["items"])
    if "anyOf" in result:
        branches = [_open_api(each) for each in result.pop("anyOf") if each.get("type") != "null"]
        if len(branches) != 1:
            raise Inexpressible("there is no union")
        nullable = {"nullable": True} if len(schema["anyOf"]) > 1 else {}
        return {**branches[0], **result, **nullable}
    kind = result.get("type")
    if kind in (None, "null"):
        raise Inexpressible("there is no type of nothing but null")
    if "enum" in result and kind == "string":
        result["format"] = "enum"
    return {**result, "type": str(kind).upper()}
