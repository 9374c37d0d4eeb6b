"""The smallest value that fits a JSON schema, always the same one for the same schema."""

from __future__ import annotations

import math
from typing import Any

_FORMATS = {
    "date": "2000-01-01",
    "date-time": "2000-01-01T00:00:00Z",
    "time": "00:00:00Z",
    "email": "name@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_DEEPEST = 32


def sample(schema: dict[str, Any], name: str = "value") -> Any:
    """A value for `schema`; strings say `name`, the property's own name further down.

    Patterns, `not` and conditions are not looked at.
    """
    return _sample(schema, name, schema, 0)


def _sample(schema: Any, name: str, root: dict[str, Any], depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    for word in ("const", "default"):
        if word in schema:
            return schema[word]
    for word in ("enum", "examples"):
        if schema.get(word):
            return schema[word][0]
    if "$ref" in schema:
        return _sample(_resolve(schema["$ref"], root), name, root, depth + 1)
    for word in ("anyOf", "oneOf"):
        if schema.get(word):
            return _sample(_first_real(schema[word]), name, root, depth + 1)
    if schema.get("allOf"):
        return _sample(_merged(schema, root), name, root, depth + 1)
    return _of_type(schema, name, root, depth)


def _of_type(schema: dict[str, Any], name: str, root: dict[str, Any], depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "array" if "items" in schema else "string"
    match kind:
        case "object":
            inner = schema.get("properties", {})
            required = schema.get("required", ())
            return {key: _sample(inner.get(key, {}), key, root, depth + 1) for key in required}
        case "array":
            first = [_sample(each, name, root, depth + 1) for each in schema.get("prefixItems", ())]
            more = schema.get("minItems", 0) - len(first)
            return [*first, *[_sample(schema.get("items", {}), name, root, depth + 1)] * more]
        case "integer" | "number":
            return _number(schema, whole=kind == "integer")
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _text(schema, name)


def _number(schema: dict[str, Any], *, whole: bool) -> int | float:
    step = schema.get("multipleOf", 1)
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"] + step
    if high is None and "exclusiveMaximum" in schema:
        high = schema["exclusiveMaximum"] - step
    value = step if low is None else low
    if high is not None and value > high:
        value = high
    return math.ceil(value) if whole else float(value)


def _text(schema: dict[str, Any], name: str) -> str:
    text: str = _FORMATS.get(schema.get("format", ""), name)
    text = text.ljust(schema.get("minLength", 0), "x")
    return text[: schema.get("maxLength", len(text))]


def _first_real(choices: list[Any]) -> Any:
    real = (one for one in choices if not (isinstance(one, dict) and one.get("type") == "null"))
    return next(real, choices[0])


def _resolve(reference: str, root: dict[str, Any]) -> Any:
    found: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        found = found.get(step.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}
    return found


def _merged(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
    for choice in schema["allOf"]:
        if not isinstance(choice, dict):
            continue
        part = _resolve(choice["$ref"], root) if "$ref" in choice else choice
        for key, value in part.items():
            if key == "properties":
                whole[key] = {**whole.get(key, {}), **value}
            elif key == "required":
                whole[key] = [*whole.get(key, []), *value]
            else:
                whole.setdefault(key, value)
    return whole
