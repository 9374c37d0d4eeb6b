"""A JSON schema with its local references: what one points to, what may be null, what goes in circles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

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


class Unresolved(ValueError):
    """A reference points to nothing inside its own schema."""


def resolved(root: Schema, ref: str) -> Any:
    """What `ref`, a pointer like `#/$defs/Node`, stands for; `Unresolved` for any other kind of reference."""
    if ref != "#" and not ref.startswith("#/"):
        raise Unresolved(f"{ref} lies outside the schema")
    found: Any = root
    for step in unquote(ref).split("/")[1:]:
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
    return _permits_null(schema, root, {})


def _permits_null(schema: Any, root: Schema, known: dict[str, bool]) -> bool:
    if not isinstance(schema, Mapping):
        return schema is True
    if "$ref" in schema:
        ref = schema["$ref"]
        if ref not in known:
            known[ref] = False  # what refers to nothing but itself permits nothing
            known[ref] = _permits_null(resolved(root, ref), root, known)
        if not known[ref]:
            return False
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return any(_permits_null(each, root, known) for each in schema[union])
    if not all(_permits_null(each, root, known) for each in schema.get("allOf", ())):
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
