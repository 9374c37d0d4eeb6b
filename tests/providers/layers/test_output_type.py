"""Structured output: a Python type goes out as a schema and comes back as a value."""

import dataclasses
import json
from typing import Any, Literal

import pydantic
import pytest

from llmgine.providers.errors import InvalidRequest, OutputInvalid
from llmgine.providers.layers.output_type import OutputType


class Person(pydantic.BaseModel):
    name: str
    age: int


class Tree(pydantic.BaseModel):
    leaves: list["Tree"] = []


@dataclasses.dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Person, '{"name": "Ada", "age": "36"}', Person(name="Ada", age=36)),
        (Point, '{"x": 1}', Point(1)),
        (Tree, '{"leaves": [{}]}', Tree(leaves=[Tree()])),
        (list[Person], '{"value": [{"name": "Ada", "age": 36}]}', [Person(name="Ada", age=36)]),
        (int, '{"value": 3}', 3),
        (Literal["a", "b"], '{"value": "b"}', "b"),
        (Person | None, '{"value": null}', None),
    ],
)
def test_types_come_back_as_values(kind: Any, text: str, value: Any) -> None:
    """An answer becomes a value of the type; what is no object travels inside one."""
    made = OutputType(kind)
    schema = made.schema.json_schema
    assert schema.get("type") == "object"
    assert made.parse(text) == value
    assert made.value(json.loads(text)) == value


@pytest.mark.parametrize("text", ["", "no JSON", '{"name": "Ada"}', "[]", "null"])
@pytest.mark.parametrize("kind", [Person, list[Person]])
def test_answers_that_do_not_fit(kind: Any, text: str) -> None:
    """An answer that is not of the type is an `OutputInvalid` that shows it."""
    with pytest.raises(OutputInvalid, match="the answer is no"):
        OutputType(kind).parse(text)


@pytest.mark.parametrize(("kind", "place"), [(Person, "$.age: "), (list[Person], "$.value.0.age: ")])
def test_what_does_not_fit_is_told_in_a_few_words(kind: Any, place: str) -> None:
    """A model that is shown the error reads where it is wrong and why, and no links."""
    answer = {"name": "Ada", "age": "many"}
    with pytest.raises(OutputInvalid) as caught:
        OutputType(kind).value(answer if kind is Person else {"value": [answer]})
    assert f"{place}Input should be a valid integer" in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_types_without_a_schema() -> None:
    """A type that has no JSON schema is refused before anything is asked."""
    with pytest.raises(InvalidRequest, match="give a pydantic model"):
        OutputType(object.__new__)


class Branch(pydantic.BaseModel):
    name: str
    branches: list["Branch"] = []


class Nest(pydantic.RootModel[list["Nest"]]):
    """Lists of lists of lists."""


def test_types_that_hold_themselves() -> None:
    """The schema of a recursive type begins with an object, as providers demand, and the value comes back."""
    branch, nest = OutputType(Branch), OutputType(Nest)
    for schema in (branch.schema.json_schema, nest.schema.json_schema):
        assert schema["type"] == "object"
        assert "$ref" not in schema
    assert branch.parse('{"name": "a", "branches": [{"name": "b"}]}') == Branch(
        name="a", branches=[Branch(name="b")]
    )
    assert nest.parse('{"value": [[], []]}') == Nest([Nest([]), Nest([])])
