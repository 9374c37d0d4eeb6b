"""Writing a JSON schema in the subset that a provider takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llmgine.providers.codecs.assembly import compact
from llmgine.providers.codecs.schema.references import (
    Schema,
    Unresolved,
    permits_null,
    recursive,
    resolved,
    type_of_value,
    types_of,
)

_WORDS = frozenset({"title", "description"})
_SILENT = frozenset(
    {"$schema", "$id", "$comment", "$defs", "definitions", "deprecated", "readOnly", "writeOnly"}
    | {"discriminator"}
)
_SAMPLES = frozenset({"default", "examples", "example"})
_ANNOTATIONS = _WORDS | _SILENT | _SAMPLES
_SHAPES = frozenset(
    {"not", "if", "then", "else", "patternProperties", "dependentRequired", "dependentSchemas"}
    | {"dependencies", "contains", "minContains", "maxContains", "propertyNames", "unevaluatedItems"}
    | {"additionalItems", "$dynamicRef", "$recursiveRef", "$anchor", "$dynamicAnchor"}
)
_BOUNDS = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "pattern", "minLength"}
    | {"maxLength", "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "format"}
    | {"contentEncoding", "contentMediaType"}
    | _SAMPLES
)
_OF_TYPE = {
    "object": {"properties", "required", "additionalProperties", "minProperties", "maxProperties"},
    "array": {"items", "prefixItems", "minItems", "maxItems", "uniqueItems"},
    "string": {"pattern", "minLength", "maxLength", "format"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
}
_OF_TYPE["integer"] = _OF_TYPE["number"]
_TYPED = frozenset().union(*_OF_TYPE.values())
_UNSURE_PATTERN = ("(?", "\\b", "\\B", *(f"\\{digit}" for digit in range(1, 10)))
_MOST_PLACES = 4
_MOST_SCHEMAS = 10_000  # with what references lead to written out


@dataclass(frozen=True, slots=True)
class Rules:
    """What one provider's subset of JSON schema takes.

    `bounds` are the keywords that narrow a value and are kept; all others are said in the description.
    """

    bounds: frozenset[str]
    formats: frozenset[str]
    values: tuple[str, ...]  # types of the values that enum may list
    closed: bool = True  # objects must take no other properties
    whole: bool = False  # every property must be required
    untyped: bool = False  # a schema may leave the type open
    type_lists: bool = True
    const: bool = True
    tuples: bool = False
    references: bool = True
    recursion: str = "any"  # or "optional": only through optional properties; or "none"


class Inexpressible(ValueError):
    """The subset has no words for what a schema demands."""


class Writer:
    """One schema on its way into a subset, with the differences that it suffers."""

    def __init__(self, root: Schema, rules: Rules) -> None:
        self._root = root
        self._rules = rules
        self._notes: dict[str, list[str]] = {}
        self._names: dict[str, str] = {}
        self._definitions: dict[str, dict[str, Any]] = {}
        self._circles: dict[tuple[str, bool], bool] = {}
        self._written = 0

    def write(self) -> dict[str, Any]:
        """The schema in the subset; `Inexpressible` says what it has no words for."""
        root: Any = self._root
        try:
            for _ in range(8):
                if "$ref" not in root:
                    break
                root = self._joined(root, "$")
            if types_of(root) != ("object",):
                raise Inexpressible("the outermost schema must be an object")
            written = self._schema(root, "$")
        except (Unresolved, RecursionError) as error:
            raise Inexpressible(str(error) or "it is nested too deeply") from None
        return {**written, "$defs": self._definitions} if self._definitions else written

    @property
    def differences(self) -> tuple[str, ...]:
        return tuple(f"{what}: {_listed(places)}" for what, places in self._notes.items())

    def _note(self, what: str, place: str) -> None:
        places = self._notes.setdefault(what, [])
        if place not in places:
            places.append(place)

    def _schema(self, schema: Any, path: str) -> dict[str, Any]:
        self._written += 1
        if self._written > _MOST_SCHEMAS:
            raise Inexpressible("it is too large")
        if not isinstance(schema, Mapping) or not set(schema) - _ANNOTATIONS:
            if self._rules.untyped and schema is not False:
                return dict(self._words(schema, [], path)) if isinstance(schema, Mapping) else {}
            raise Inexpressible(f"{path} leaves open what it holds")
        self._refuse_shapes(schema, path)
        if "$ref" in schema:
            return self._reference(schema, path)
        if len(schema.get("allOf", ())) == 1:
            return self._schema(_merged(schema["allOf"][0], _without(schema, "allOf"), path), path)
        for union in ("anyOf", "oneOf"):
            if union in schema:
                return self._union(schema, union, path)
        types = types_of(schema)
        if len(types) > 1 and not self._rules.type_lists:
            values = _values_of(schema)
            if any(type_of_value(each) not in self._rules.values for each in values) or not values:
                return self._spread(schema, types, path)
            return self._plain(schema, (), path)
        return self._plain(schema, types, path)

    def _refuse_shapes(self, schema: Schema, path: str) -> None:
        shapes = _SHAPES if self._rules.tuples else _SHAPES | {"prefixItems"}
        found = sorted(shapes & set(schema))
        if len(schema.get("allOf", ())) > 1:
            found.append("allOf")
        if schema.get("unevaluatedProperties", False) is not False:
            found.append("unevaluatedProperties")
        if found:
            raise Inexpressible(f"{path} uses {', '.join(found)}")

    def _reference(self, schema: Schema, path: str) -> dict[str, Any]:
        ref = schema["$ref"]
        circles = self._goes_in_circles(ref)
        beside = set(schema) - _SILENT - {"$ref", "default"}
        if not circles and (beside or not self._rules.references):
            return self._schema(self._joined(schema, path), path)
        if circles:
            self._refuse_circles(ref, path)
        if beside - _ANNOTATIONS:
            raise Inexpressible(f"{path} narrows {ref}, which refers to itself")
        if beside:
            self._note("words beside a reference left out", path)
        if ref == "#":
            return {"$ref": ref}
        if ref not in self._names:
            self._define(ref)
        return {"$ref": f"#/$defs/{self._names[ref]}"}

    def _refuse_circles(self, ref: str, path: str) -> None:
        allowed = self._rules.recursion
        if allowed == "none" or (allowed == "optional" and self._goes_in_circles(ref, optional=False)):
            raise Inexpressible(f"{path} refers to itself")

    def _goes_in_circles(self, ref: str, *, optional: bool = True) -> bool:
        key = (ref, optional)
        if key not in self._circles:
            self._circles[key] = recursive(self._root, ref, optional=optional)
        return self._circles[key]

    def _define(self, ref: str) -> None:
        last = ref.rsplit("/", 1)[-1].replace("~1", "/").replace("~0", "~")
        plain = "".join(each if each.isalnum() or each in "_-." else "_" for each in last)
        name, again = plain, 2
        while name in self._definitions:
            name, again = f"{plain}_{again}", again + 1
        self._names[ref] = name
        self._definitions[name] = {}
        self._definitions[name] = self._schema(resolved(self._root, ref), ref)

    def _joined(self, schema: Schema, path: str) -> Schema:
        target = resolved(self._root, schema["$ref"])
        if not isinstance(target, Mapping):
            raise Inexpressible(f"{path} leaves open what it holds")
        return _merged(target, _without(schema, "$ref"), path)

    def _union(self, schema: Schema, union: str, path: str) -> dict[str, Any]:
        others = sorted(set(schema) - _ANNOTATIONS - {union})
        if others:
            raise Inexpressible(f"{path} has {', '.join(others)} beside {union}")
        if union == "oneOf":
            self._note("oneOf sent as anyOf", path)
        branches = [self._schema(each, f"{path}.{union}[{n}]") for n, each in enumerate(schema[union])]
        return {"anyOf": branches, **self._words(schema, [], path)}

    def _spread(self, schema: Schema, types: tuple[str, ...], path: str) -> dict[str, Any]:
        """One branch for each of a list of types."""
        bare = {name: each for name, each in schema.items() if name not in _ANNOTATIONS}
        branches = []
        for kind in types:
            own = _OF_TYPE.get(kind, set())
            kept = {name: each for name, each in bare.items() if name in own or name not in _TYPED}
            if "enum" in kept:
                kept["enum"] = [each for each in kept["enum"] if type_of_value(each) == kind]
            branches.append(self._schema({**kept, "type": kind}, path))
        return {"anyOf": branches, **self._words(schema, [], path)}

    def _plain(self, schema: Schema, types: tuple[str, ...], path: str) -> dict[str, Any]:
        written: dict[str, Any] = {}
        if types:
            written["type"] = types[0] if len(types) == 1 else list(types)
        elif not self._rules.untyped and not _values_of(schema):
            raise Inexpressible(f"{path} leaves open what it holds")
        said: list[str] = []
        if _values_of(schema):
            written = self._values(schema, written, said, path)
        if "object" in types:
            written |= self._object(schema, path)
        if "array" in types:
            written |= self._array(schema, path)
        for name in schema:
            if name in _BOUNDS:
                if self._keeps(name, schema[name]):
                    written[name] = schema[name]
                elif schema[name] is not None:
                    said.append(name)
            elif name not in _KNOWN:
                self._note(f"{name} left out", path)
        return written | self._words(schema, said, path)

    def _keeps(self, name: str, value: Any) -> bool:
        rules = self._rules
        if name == "format":
            return value in rules.formats
        if name == "minItems" and "minItems 0 or 1" in rules.bounds:
            return value in (0, 1)
        if name == "pattern" and any(each in str(value) for each in _UNSURE_PATTERN):
            return False
        return name in rules.bounds

    def _values(self, schema: Schema, written: dict[str, Any], said: list[str], path: str) -> dict[str, Any]:
        values = _values_of(schema)
        refused = [each for each in values if type_of_value(each) not in self._rules.values]
        if any(isinstance(each, dict | list) for each in refused):
            raise Inexpressible(f"{path} lists objects or arrays as values")
        if refused == [None] and len(values) > 1:
            rest = [each for each in values if each is not None]
            kinds = list(dict.fromkeys(map(type_of_value, rest)))
            return {"anyOf": [{"type": kinds[0], "enum": rest}, {"type": "null"}]}
        if refused:
            if set(refused) != {None} or len(values) > 1:
                said.append("enum" if "enum" in schema else "const")
            return written
        if "const" in schema and self._rules.const:
            return {**written, "const": schema["const"]}
        return {**written, "enum": values}

    def _object(self, schema: Schema, path: str) -> dict[str, Any]:
        rules = self._rules
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties")
        required = [name for name in schema.get("required", ()) if name in properties]
        if len(required) < len(schema.get("required", ())):
            raise Inexpressible(f"{path} requires a property that it does not describe")
        written = {name: self._schema(each, f"{path}.{name}") for name, each in properties.items()}
        if not rules.closed:
            result: dict[str, Any] = {"properties": written} if "properties" in schema else {}
            if others is not None:
                free = self._schema(others, f"{path}.*") if isinstance(others, Mapping) and others else others
                result["additionalProperties"] = free
            return {**result, "required": required} if required else result
        if isinstance(others, Mapping) or (not properties and others is not False):
            raise Inexpressible(f"{path} takes properties of any name")
        if others is True:
            self._note("closed to other properties", path)
        if rules.whole:
            for name in properties:
                if name not in required and not permits_null(properties[name], self._root):
                    written[name] = _or_null(written[name])
                    self._note("optional, so null instead of left out", f"{path}.{name}")
            required = list(properties)
        return {"properties": written, "required": required, "additionalProperties": False}

    def _array(self, schema: Schema, path: str) -> dict[str, Any]:
        written: dict[str, Any] = {}
        if "prefixItems" in schema:
            each = enumerate(schema["prefixItems"])
            written["prefixItems"] = [self._schema(kind, f"{path}[{n}]") for n, kind in each]
        if "items" in schema:
            written["items"] = self._schema(schema["items"], f"{path}[]")
        elif not written and not self._rules.untyped:
            raise Inexpressible(f"{path} leaves open what it holds")
        return written

    def _words(self, schema: Schema, said: list[str], path: str) -> dict[str, Any]:
        written = {name: schema[name] for name in ("title", "description") if schema.get(name)}
        if said:
            words = "; ".join(f"{name}: {compact(schema[name])}" for name in said)
            written["description"] = f"{written.get('description', '')}\n\n({words})".strip()
            for name in (each for each in said if each not in _SAMPLES):
                self._note(f"{name} said in the description only", path)
        return written


_KNOWN = _ANNOTATIONS | _BOUNDS | _TYPED | {"type", "enum", "const", "unevaluatedProperties"}


def _values_of(schema: Schema) -> list[Any]:
    return [schema["const"]] if "const" in schema else list(schema.get("enum", ()))


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    if isinstance(kind, str) and "enum" not in schema and "const" not in schema:
        return {**schema, "type": [kind, "null"]}
    if "anyOf" in schema:
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    return {"anyOf": [schema, {"type": "null"}]}


def _without(schema: Schema, name: str) -> dict[str, Any]:
    return {each: value for each, value in schema.items() if each != name}


def _merged(under: Any, over: Schema, path: str) -> dict[str, Any]:
    """Two schemas that both hold, as one; words of the second go before."""
    if not isinstance(under, Mapping):
        raise Inexpressible(f"{path} leaves open what it holds")
    clash = sorted(name for name in set(under) & set(over) - _ANNOTATIONS if under[name] != over[name])
    if clash:
        raise Inexpressible(f"{path} says {', '.join(clash)} twice")
    return {**under, **over}


def _listed(places: list[str]) -> str:
    shown = ", ".join(places[:_MOST_PLACES])
    more = len(places) - _MOST_PLACES
    return f"{shown} and {more} more" if more > 0 else shown
