"""Answers to strict schemas in terms of the asked ones."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from llmgine.providers.codecs.schema import restore
from tests.providers.codecs.schema.test_dialects import NODE, OWNER


class Add(BaseModel):
    left: Term
    right: Term | None = None
    add: bool


class Negate(BaseModel):
    left: Term
    right: Term | None = None
    negate: bool


Term = Add | Negate | int
Add.model_rebuild()


def test_what_openai_answers_is_restored() -> None:
    """Nulls that stand for left out properties go, also inside unions and arrays; real nulls stay."""
    answer = {"pet": {"kind": "cat", "lives": None}, "second": None, "age": None, "mood": None}
    assert restore(answer, OWNER) == {"pet": {"kind": "cat"}, "second": None, "mood": None}
    tree = {"value": 1, "children": [{"value": 2, "children": None}]}
    assert restore(tree, NODE) == {"value": 1, "children": [{"value": 2}]}


def test_unions_within_unions_are_told_apart_soon() -> None:
    """A value is tried against a schema once, however deep the branches that it does not fit."""
    value: Any = 1
    for _ in range(60):
        value = {"left": value, "negate": True}
    schema = Add.model_json_schema()
    assert restore({"left": value, "add": True}, schema) == {"left": value, "add": True}


def test_unions_of_unions_are_told_apart_soon() -> None:
    """So it is with schemas that are nothing but unions of others."""
    defs: dict[str, Any] = {f"D{n}": {"anyOf": [{"$ref": f"#/$defs/D{n + 1}"}] * 2} for n in range(40)}
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/D0"}}, "$defs": defs}
    assert restore({"a": 3}, schema | {"$defs": defs | {"D40": {"type": "string"}}}) == {"a": 3}


def test_a_union_that_only_leads_back_to_itself_changes_nothing() -> None:
    """Nothing can be told of such an answer, and it is given back as it is."""
    circle = {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "string"}]}
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": circle}}
    assert restore({"a": "x"}, schema) == {"a": "x"}
    assert restore({"a": 1}, schema) == {"a": 1}
