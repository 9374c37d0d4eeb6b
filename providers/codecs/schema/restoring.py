"""Answers to a strict schema in terms of the schema that was asked."""

from __future__ import annotations

from typing import Any

from llmgine.providers.codecs.schema.references import (
    Schema,
    Unresolved,
    permits_null,
    resolved,
    type_of_value,
    types_of,
)

_LONGEST_CHAIN = 64


class Restoring:
    """Takes out the nulls that stand for left out properties.

    Whether a value fits a schema is found out once, so that unions within unions cost no more than there
    are values and schemas.
    """

    def __init__(self, root: Schema) -> None:
        self._root = root
        # The values and schemas are kept too, so that no other object gets the identity of one.
        self._known: dict[tuple[int, int], tuple[Any, Any, bool]] = {}

    def restored(self, value: Any, schema: Any) -> Any:
        schema = self._followed(schema)
        if not isinstance(schema, dict):
            return value
        for union in ("anyOf", "oneOf"):
            if union in schema:
                fitting = (each for each in schema[union] if self._fits(value, each))
                return self.restored(value, next(fitting, True))
        for each in schema.get("allOf", ()):
            value = self.restored(value, each)
        if isinstance(value, dict):
            return self._object(value, schema)
        if isinstance(value, list):
            first = schema.get("prefixItems", [])
            rest = schema.get("items", True)
            kinds = [*first, *[rest] * (len(value) - len(first))]
            return [self.restored(each, kind) for each, kind in zip(value, kinds, strict=False)]
        return value

    def _object(self, value: dict[str, Any], schema: Schema) -> dict[str, Any]:
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties", True)
        required = schema.get("required", ())
        result = {}
        for name, each in value.items():
            kind = properties.get(name, others)
            left_out = each is None and name in properties and name not in required
            if not left_out or permits_null(kind, self._root):
                result[name] = self.restored(each, kind)
        return result

    def _followed(self, schema: Any) -> Any:
        """A schema without a reference at its top; one that leads nowhere says nothing."""
        for _ in range(_LONGEST_CHAIN):
            if not isinstance(schema, dict) or "$ref" not in schema:
                return schema
            try:
                target = resolved(self._root, schema["$ref"])
            except Unresolved:
                return True
            here = {name: each for name, each in schema.items() if name != "$ref"}
            schema = {**target, **here} if isinstance(target, dict) else target
        return True

    def _fits(self, value: Any, schema: Any) -> bool:
        """Whether a value has a schema's shape, where optional properties may be null."""
        key = (id(value), id(schema))
        if key not in self._known:
            self._known[key] = (value, schema, False)  # what rests on nothing but itself does not fit
            self._known[key] = (value, schema, self._has_shape(value, self._followed(schema)))
        return self._known[key][2]

    def _has_shape(self, value: Any, schema: Any) -> bool:
        if not isinstance(schema, dict):
            return schema is not False
        for union in ("anyOf", "oneOf"):
            if union in schema:
                return any(self._fits(value, each) for each in schema[union])
        types = types_of(schema)
        kind = type_of_value(value)
        if types and kind not in types and not (kind == "integer" and "number" in types):
            return False
        if "enum" in schema or "const" in schema:
            return value in ([schema["const"]] if "const" in schema else schema["enum"])
        if isinstance(value, dict):
            return self._object_fits(value, schema)
        if isinstance(value, list) and "items" in schema:
            return all(self._fits(each, schema["items"]) for each in value)
        return True

    def _object_fits(self, value: dict[str, Any], schema: Schema) -> bool:
        properties = schema.get("properties", {})
        required = schema.get("required", ())
        if any(name not in value for name in required):
            return False
        return all(
            (each is None and name not in required) or self._fits(each, properties[name])
            if name in properties
            else bool(schema.get("additionalProperties", not properties))
            for name, each in value.items()
        )
