"""A JSON schema with its local references: what one points to, what may be null, what goes in circles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_JSON_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}
_DEEPEST = 64


class Unresolved(ValueError):
    """A reference points to nothing inside its own schema."""


def resolved(root: Schema, ref: str) -> Any:
    """What `ref`, a pointer like `#/$defs/Node`, stands for; `Unresolved` for any other kind of reference."""
    if ref != "#" and not ref.startswith("#/"):
        raise Unresolved(f"{ref} lies outside the schema")
    found: Any = root
    for step in ref.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Mapping) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            raise Unresolved(f"{ref} points to nothing")
    return found


def types_of(schema: Schema) -> tuple[str, ...]:
    """The types that a schema names, or those that its other keywords are about; empty where it is open."""
    named = schema.get("type")
    if named is not None:
        return (named,) if isinstance(named, str) else tuple(named)
    if "enum" in schema or "const" in schema:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        return tuple(dict.fromkeys(map(type_of_value, values)))
    if "properties" in schema:
        return ("object",)
    return ("array",) if "items" in schema or "prefixItems" in schema else ()


def type_of_value(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    return next(name for name, kind in _JSON_TYPES.items() if isinstance(value, kind))


def permits_null(schema: Any, root: Schema) -> bool:
    """Whether null fits the schema, as far as types, values and unions say."""
    return _permits_null(schema, root, _DEEPEST)


def _permits_null(schema: Any, root: Schema, depth: int) -> bool:
    if not isinstance(schema, Mapping):
        return schema is True
    if depth and "$ref" in schema and not _permits_null(resolved(root, schema["$ref"]), root, depth - 1):
        return False
    for union in ("anyOf", "oneOf"):
        if depth and union in schema:
            return any(_permits_null(each, root, depth - 1) for each in schema[union])
    if depth and not all(_permits_null(each, root, depth - 1) for each in schema.get("allOf", ())):
        return False
    types = types_of(schema)
    return not types or "null" in types


def parts_of(schema: Schema, *, optional: bool = True) -> Iterator[Any]:
    """The schemas right inside one; without those of optional properties where `optional` is false."""
    required = schema.get("required", ())
    for name, each in schema.get("properties", {}).items():
        if optional or name in required:
            yield each
    for keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
        yield from schema.get(keyword, ())
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), Mapping):
            yield schema[keyword]


def recursive(root: Schema, ref: str, *, optional: bool = True) -> bool:
    """Whether following `ref` comes back to it; through optional properties too where `optional` says so."""
    seen: set[str] = set()
    waiting = [resolved(root, ref)]
    while waiting:
        schema = waiting.pop()
        if not isinstance(schema, Mapping):
            continue
        target = schema.get("$ref")
        if target == ref:
            return True
        if isinstance(target, str) and target not in seen:
            seen.add(target)
            waiting.append(resolved(root, target))
        waiting.extend(parts_of(schema, optional=optional))
    return False


def restored(value: Any, schema: Any, root: Schema) -> Any:
    """`value` without the nulls of optional properties that must not be null."""
    schema = _followed(schema, root)
    if not isinstance(schema, Mapping):
        return value
    for union in ("anyOf", "oneOf"):
        if union in schema:
            fitting = (each for each in schema[union] if _fits(value, each, root))
            return restored(value, next(fitting, True), root)
    for each in schema.get("allOf", ()):
        value = restored(value, each, root)
    if isinstance(value, dict):
        return _restored_object(value, schema, root)
    if isinstance(value, list):
        first = schema.get("prefixItems", [])
        rest = schema.get("items", True)
        kinds = [*first, *[rest] * (len(value) - len(first))]
        return [restored(each, kind, root) for each, kind in zip(value, kinds, strict=False)]
    return value


def _followed(schema: Any, root: Schema) -> Any:
    """A schema without a reference at its top; one that leads nowhere says nothing."""
    for _ in range(_DEEPEST):
        if not isinstance(schema, Mapping) or "$ref" not in schema:
            return schema
        try:
            target = resolved(root, schema["$ref"])
        except Unresolved:
            return True
        here = {name: each for name, each in schema.items() if name != "$ref"}
        schema = {**target, **here} if isinstance(target, Mapping) else target
    return True


def _restored_object(value: dict[str, Any], schema: Schema, root: Schema) -> dict[str, Any]:
    properties = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    required = schema.get("required", ())
    result = {}
    for name, each in value.items():
        kind = properties.get(name, others)
        if each is None and name in properties and name not in required and not permits_null(kind, root):
            continue
        result[name] = restored(each, kind, root)
    return result


def _fits(value: Any, schema: Any, root: Schema) -> bool:
    """Whether a value has a schema's shape, where optional properties may be null."""
    schema = _followed(schema, root)
    if not isinstance(schema, Mapping):
        return schema is not False
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return any(_fits(value, each, root) for each in schema[union])
    types = types_of(schema)
    kind = type_of_value(value)
    if types and kind not in types and not (kind == "integer" and "number" in types):
        return False
    if "enum" in schema or "const" in schema:
        return value in ([schema["const"]] if "const" in schema else schema["enum"])
    if isinstance(value, dict):
        return _fits_object(value, schema, root)
    if isinstance(value, list) and "items" in schema:
        return all(_fits(each, schema["items"], root) for each in value)
    return True


def _fits_object(value: dict[str, Any], schema: Schema, root: Schema) -> bool:
    properties = schema.get("properties", {})
    required = schema.get("required", ())
    if any(name not in value for name in required):
        return False
    return all(
        (each is None and name not in required) or _fits(each, properties[name], root)
        if name in properties
        else bool(schema.get("additionalProperties", not properties))
        for name, each in value.items()
    )
