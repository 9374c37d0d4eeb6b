"""JSON schemas in the dialects of the providers."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from typing import Annotated, Any, Literal

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from llmgine.providers.codecs.schema import (
    anthropic_output,
    dialects,
    gemini_json,
    gemini_legacy,
    openai_strict,
    restore,
)


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(9, ge=1)


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str | None = None


class Owner(BaseModel):
    name: str = Field(min_length=2, pattern="^a+$")
    pet: Annotated[Cat | Dog, Field(discriminator="kind", description="the pet")]
    second: Cat | None = Field(None, description="another cat")
    age: int = 3
    paid: Decimal
    mood: Literal[1, 2, None]


class Node(BaseModel):
    value: int
    children: list[Node] = []


class Pet(BaseModel):
    cat: Cat
    second: Cat | None = Field(None, description="another cat")
    mood: Literal[1, 2, None]


OWNER = Owner.model_json_schema()
PET = Pet.model_json_schema()
NODE = Node.model_json_schema()
ALL = [openai_strict, anthropic_output, gemini_json, gemini_legacy]
STRICT = [openai_strict, anthropic_output]


def obj(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def objects(schema: Any) -> list[dict[str, Any]]:
    if isinstance(schema, list):
        return [one for each in schema for one in objects(each)]
    if not isinstance(schema, dict):
        return []
    own = [schema] if schema.get("type") == "object" and "properties" in schema else []
    return own + [one for each in schema.values() for one in objects(each)]


@pytest.mark.parametrize("dialect", ALL)
def test_the_same_schema_makes_the_same_bytes_and_stays_as_it_was(dialect: Any) -> None:
    """A dialect depends on nothing but the schema, which it does not touch."""
    before = copy.deepcopy(PET)
    assert json.dumps(dialect(PET).schema) == json.dumps(dialect(PET).schema)
    assert before == PET


@pytest.mark.parametrize("dialect", STRICT)
def test_strict_objects_are_closed(dialect: Any) -> None:
    """Strict modes want every object closed, the nested and the referenced ones too."""
    found = objects(dialect(OWNER).schema)
    assert len(found) == 3
    assert all(each["additionalProperties"] is False for each in found)


def test_openai_requires_every_property() -> None:
    """An optional property is required there, and may be null unless it could be anyway."""
    dialect = openai_strict(OWNER)
    assert dialect.strict
    assert all(each["required"] == list(each["properties"]) for each in objects(dialect.schema))
    assert dialect.schema["properties"]["age"]["type"] == ["integer", "null"]
    assert dialect.schema["properties"]["second"]["anyOf"] == [{"$ref": "#/$defs/Cat"}, {"type": "null"}]
    assert any(each.startswith("optional, so null") and "$.age" in each for each in dialect.differences)
    assert not any("$.second" in each for each in dialect.differences)


@pytest.mark.parametrize("dialect", ALL)
def test_bounds_without_a_keyword_are_said(dialect: Any) -> None:
    """A bound that a provider cannot hold is told to the model and listed."""
    schema = obj(n={"type": "integer", "description": "how many", "multipleOf": 3, "exclusiveMinimum": 2})
    made = dialect(schema)
    number = made.schema["properties"]["n"]
    if dialect is openai_strict:
        assert number["multipleOf"] == 3
        assert not any("multipleOf" in each for each in made.differences)
    else:
        assert number["description"] == "how many\n\n(multipleOf: 3; exclusiveMinimum: 2)"
        assert "multipleOf said in the description only: $.n" in made.differences


def test_a_pattern_that_looks_around_is_said() -> None:
    """Engines of providers know no lookaround, so such a pattern is not sent as one."""
    made = openai_strict(obj(p={"type": "string", "pattern": "^(?!x)a"}))
    assert "pattern" not in made.schema["properties"]["p"]
    assert made.strict


@pytest.mark.parametrize(
    "inner",
    [
        {},
        True,
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "string", "not": {"const": "a"}},
        {"allOf": [obj(a={"type": "string"}), obj(b={"type": "string"})]},
        {"$ref": "https://elsewhere.example/schema"},
        {"type": "array"},
        {"enum": [{"a": 1}]},
    ],
)
@pytest.mark.parametrize("dialect", STRICT)
def test_what_has_no_words_is_not_strict(dialect: Any, inner: Any) -> None:
    """A schema that a strict mode cannot say is sent as it is, with the reason, never weakened."""
    schema = obj(x=inner)
    made = dialect(schema)
    assert not made.strict
    assert made.schema == schema
    (why,) = made.differences
    assert "$.x" in why or "elsewhere" in why


@pytest.mark.parametrize(
    "root", [{"type": "array", "items": {"type": "string"}}, {"anyOf": [obj(), obj()]}, {}]
)
def test_the_outermost_is_an_object(root: dict[str, Any]) -> None:
    """No provider forces anything but an object."""
    assert not openai_strict(root).strict
    assert gemini_legacy(root) is None


def test_recursion() -> None:
    """OpenAI takes a recursive schema, Gemini through optional properties, Anthropic and OpenAPI none."""
    assert openai_strict(NODE).schema["$defs"]["Node"]["properties"]["children"]["items"] == {
        "$ref": "#/$defs/Node"
    }
    assert gemini_json(NODE).strict
    assert not anthropic_output(NODE).strict
    assert gemini_legacy(NODE) is None
    must = copy.deepcopy(NODE)
    must["$defs"]["Node"]["required"] = ["value", "children"]
    assert not gemini_json(must).strict


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": ["a"]},
        {"type": "object", "properties": None},
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": None},
        obj(a={"type": 3}),
        obj(a={"$ref": 3}),
    ],
)
@pytest.mark.parametrize("dialect", STRICT)
def test_what_is_no_schema_is_not_strict(dialect: Any, schema: dict[str, Any]) -> None:
    """A tool of somebody else's may describe itself in any way; the provider then says what is wrong."""
    made = dialect(schema)
    assert (made.strict, made.schema) == (False, schema)
    assert made.differences == ("not enforced by the provider: it is no valid JSON schema",)


@pytest.mark.parametrize("dialect", ALL)
def test_what_would_grow_without_bounds_is_not_strict(dialect: Any) -> None:
    """References that each lead to two more are not written out for ever."""
    defs: dict[str, Any] = {
        f"D{n}": obj(
            a={"$ref": f"#/$defs/D{n + 1}", "title": "a"}, b={"$ref": f"#/$defs/D{n + 1}", "title": "b"}
        )
        for n in range(40)
    }
    schema = obj(a={"$ref": "#/$defs/D0"}) | {"$defs": defs | {"D40": {"type": "string"}}}
    made = dialect(schema)
    assert made is None or made.differences == ("not enforced by the provider: it is too large",)


def test_whether_null_is_permitted_is_found_soon() -> None:
    """A union of unions is looked at once each, not once for each way to it."""
    defs: dict[str, Any] = {f"D{n}": {"anyOf": [{"$ref": f"#/$defs/D{n + 1}"}] * 2} for n in range(40)}
    schema = obj(a={"$ref": "#/$defs/D0"}) | {"$defs": defs | {"D40": {"type": "string"}}}
    assert {"type": "null"} in openai_strict(schema).schema["properties"]["a"]["anyOf"]


def test_a_reference_may_be_escaped_as_in_a_url() -> None:
    """A pointer stands in a fragment, where some characters are escaped."""
    schema = obj(("a",), a={"$ref": "#/$defs/A%20B"}) | {"$defs": {"A B": {"type": "string"}}}
    assert openai_strict(schema).schema["properties"]["a"] == {"$ref": "#/$defs/A_20B"}


def test_words_beside_a_reference_are_kept() -> None:
    """A described reference is written out where it can be; to a recursive schema it loses its words."""
    schema = obj(a={"$ref": "#/$defs/A", "description": "first"})
    schema["$defs"] = {"A": {"type": "string", "description": "any"}}
    assert openai_strict(schema).schema["properties"]["a"]["description"] == "first"
    tree = obj(a={"$ref": "#/$defs/Node", "description": "first"}) | {"$defs": NODE["$defs"]}
    made = openai_strict(tree)
    assert made.schema["properties"]["a"]["anyOf"][0] == {"$ref": "#/$defs/Node"}
    assert "words beside a reference left out: $.a" in made.differences


def test_references_to_anywhere_in_the_schema() -> None:
    """A pointer into the schema itself, not only into $defs, is followed."""
    schema = obj(("a", "b"), a={"type": "string", "pattern": "^x"}, b={"$ref": "#/properties/a"})
    made = openai_strict(schema)
    assert made.schema["properties"]["b"] == {"$ref": "#/$defs/a"}
    assert made.schema["$defs"]["a"] == {"type": "string", "pattern": "^x"}


def test_gemini_keeps_what_it_knows() -> None:
    """Gemini takes open objects, tuples and any value; a constant is a list of one."""
    schema = obj(
        free={"type": "object", "additionalProperties": {"type": "integer"}},
        pair={"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
        any={},
        one={"const": "x"},
        flag={"const": True},
    )
    made = gemini_json(schema)
    assert made.strict
    assert made.schema["properties"]["free"]["additionalProperties"] == {"type": "integer"}
    assert len(made.schema["properties"]["pair"]["prefixItems"]) == 2
    assert made.schema["properties"]["any"] == {}
    assert made.schema["properties"]["one"] == {"type": "string", "enum": ["x"]}
    assert made.schema["properties"]["flag"] == {"type": "boolean", "description": "(const: true)"}


def keywords(schema: Any) -> set[str]:
    found = set(schema)
    for each in schema.get("properties", {}).values():
        found |= keywords(each)
    return found | (keywords(schema["items"]) if "items" in schema else set())


def test_the_legacy_dialect_has_nullable_capitals_and_no_references() -> None:
    """It knows neither null nor references nor bounds nor numbers in an enum, and says what it can."""
    made = gemini_legacy(PET)
    assert made is not None
    known = {"type", "properties", "required", "nullable", "description", "enum", "format"}
    assert keywords(made.schema) == known
    second = made.schema["properties"]["second"]
    assert (second["type"], second["nullable"], second["description"]) == ("OBJECT", True, "another cat")
    mood = made.schema["properties"]["mood"]
    assert (mood["type"], mood["nullable"], mood["description"]) == ("INTEGER", True, "(enum: [1,2])")
    assert made.schema["properties"]["cat"]["properties"]["kind"]["enum"] == ["cat"]


@pytest.mark.parametrize(
    "schema", [OWNER, obj(), obj(x={"type": "null"}), obj(x=obj()), obj(x={"type": ["string", "integer"]})]
)
def test_the_legacy_dialect_has_no_words_for_much(schema: dict[str, Any]) -> None:
    """A union, nothing but null and an object without properties cannot be said."""
    assert gemini_legacy(schema) is None


def test_anthropic_has_no_lists_of_types() -> None:
    """A list of types becomes one branch each, with the keywords of that type."""
    made = anthropic_output(obj(x={"type": ["string", "null"], "format": "date", "description": "when"}))
    assert made.schema["properties"]["x"] == {
        "anyOf": [{"type": "string", "format": "date"}, {"type": "null"}],
        "description": "when",
    }
    listed = anthropic_output(obj(x={"enum": ["a", None]}))
    assert listed.schema["properties"]["x"] == {"enum": ["a", None]}


def test_the_differences_name_a_few_places() -> None:
    """A long list of places is cut."""
    fields: dict[str, Any] = {f"p{n}": {"type": "integer", "minimum": 0} for n in range(9)}
    made = anthropic_output(obj(**fields))
    assert made.differences == ("minimum said in the description only: $.p0, $.p1, $.p2, $.p3 and 5 more",)


_LEAVES = st.sampled_from(
    [
        {"type": "string"},
        {"type": "integer", "minimum": 0},
        {"type": ["string", "null"]},
        {"enum": ["a", "b"]},
        {"const": 3},
        {"type": "boolean", "default": True},
    ]
)
_VALUES = {"string": "s", "integer": 4, "boolean": False, "null": None}


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields = st.dictionaries(st.sampled_from("abcd"), inner, min_size=1, max_size=3)
    made = st.tuples(fields, st.sets(st.sampled_from("abcd"))).map(
        lambda both: obj(tuple(sorted(set(both[0]) & both[1])), **both[0])
    )
    return made | inner.map(lambda each: {"type": "array", "items": each})


def _answer(schema: dict[str, Any], choose: Any) -> Any:
    """An answer that the schema of the strict dialect allows."""
    if "anyOf" in schema:
        return _answer(choose(schema["anyOf"]), choose)
    if "enum" in schema:
        return choose(schema["enum"])
    if "const" in schema:
        return schema["const"]
    kind = schema["type"] if isinstance(schema["type"], str) else choose(schema["type"])
    if kind == "object":
        return {name: _answer(each, choose) for name, each in schema["properties"].items()}
    if kind == "array":
        return [_answer(schema["items"], choose)] * choose([0, 1, 2])
    return _VALUES[kind]


@given(
    st.dictionaries(st.sampled_from("xyz"), st.recursive(_LEAVES, _nested, max_leaves=8), min_size=1),
    st.data(),
)
def test_every_strict_answer_fits_after_restoring(fields: dict[str, Any], data: st.DataObject) -> None:
    """Whatever the strict dialect allows is, once restored, an answer to the asked schema."""
    schema = obj((min(fields),), **fields)
    made = openai_strict(schema)
    assert made.strict
    answer = _answer(made.schema, lambda options: data.draw(st.sampled_from(options)))
    jsonschema.validate(answer, made.schema)
    jsonschema.validate(restore(answer, schema), schema)


def test_every_dialect_is_tested() -> None:
    """The dialects of this file are those of the module."""
    public = {name for name in vars(dialects) if name.split("_")[0] in ("openai", "anthropic", "gemini")}
    assert public == {each.__name__ for each in ALL}
