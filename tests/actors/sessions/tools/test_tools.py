"""Typed functions become tools; what cannot be described is refused where it is written."""

import dataclasses
import datetime
import enum
import functools
import math
import pickle
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

import pydantic
import pytest

from llmgine.actors.sessions.errors import ToolDefinitionError
from llmgine.actors.sessions.tools.context import ToolContext
from llmgine.actors.sessions.tools.tool import Tool, as_tools, tool


class Unit(enum.Enum):
    CELSIUS = "celsius"
    FAHRENHEIT = "fahrenheit"


class Place(pydantic.BaseModel):
    """Somewhere."""

    city: str
    country: str = "FR"


class Trip(pydantic.BaseModel):
    stops: list[Place]


def google(city: str, days: int = 3, unit: Unit = Unit.CELSIUS) -> str:
    """Forecast the weather.

    Longer than a word.

    Args:
        city: Name of the city,
            as people write it.
        days: How many days.
        unit: The scale.

    Returns:
        The forecast.
    """
    return f"{city} {days} {unit.value}"


def numpy(city: str, days: int = 3, unit: Unit = Unit.CELSIUS) -> str:
    """Forecast the weather.

    Longer than a word.

    Parameters
    ----------
    city : str
        Name of the city,
        as people write it.
    days : int
        How many days.
    unit : Unit
        The scale.
    """
    return f"{city} {days} {unit.value}"


def rest(city: str, days: int = 3, unit: Unit = Unit.CELSIUS) -> str:
    """Forecast the weather.

    Longer than a word.

    :param city: Name of the city,
        as people write it.
    :param days: How many days.
    :param unit: The scale.
    """
    return f"{city} {days} {unit.value}"


@pytest.mark.parametrize("function", [google, numpy, rest])
def test_documented_function(function: Callable[..., str]) -> None:
    """Name, description, types, enums, defaults and required flags come from the function, in each style."""
    spec = tool(function).spec
    assert spec.name == function.__name__
    assert spec.description == "Forecast the weather.\n\nLonger than a word."
    properties = spec.parameters["properties"]
    assert spec.parameters["type"] == "object"
    assert spec.parameters["required"] == ["city"]
    assert spec.parameters["additionalProperties"] is False
    assert properties["city"]["type"] == "string"
    assert properties["city"]["description"].split() == [
        "Name",
        "of",
        "the",
        "city,",
        "as",
        "people",
        "write",
        "it.",
    ]
    assert properties["days"] == {"type": "integer", "description": "How many days.", "default": 3}
    assert properties["unit"]["default"] == "celsius"
    assert properties["unit"]["description"] == "The scale."
    assert spec.parameters["$defs"]["Unit"]["enum"] == ["celsius", "fahrenheit"]


def test_rich_types() -> None:
    """Literals, unions, nested models, containers, dataclasses and annotated texts are described."""

    @dataclasses.dataclass
    class Window:
        begin: datetime.date
        end: datetime.date | None = None

    def plan(
        trip: Trip,
        mode: Literal["fast", "cheap"],
        window: Window,
        budget: Annotated[Decimal | None, pydantic.Field(description="In euro.")] = None,
        tags: tuple[str, ...] = (),
    ) -> None: ...

    made = tool(plan)
    properties = made.spec.parameters["properties"]
    assert properties["mode"]["enum"] == ["fast", "cheap"]
    assert properties["budget"]["description"] == "In euro."
    assert set(made.spec.parameters["$defs"]) == {"Place", "Trip", "Window"}
    assert made.spec.parameters["required"] == ["trip", "mode", "window"]
    values = made.validate(
        {
            "trip": {"stops": [{"city": "Paris"}]},
            "mode": "fast",
            "window": {"begin": "2026-01-02"},
            "tags": ["a"],
        }
    )
    assert values["trip"] == Trip(stops=[Place(city="Paris")])
    assert values["window"] == Window(datetime.date(2026, 1, 2))
    assert values["tags"] == ("a",)
    assert "budget" not in values


def test_names_that_models_reserve() -> None:
    """A parameter may be named like an attribute of a pydantic model, or begin with an underscore."""

    def odd(schema: str, copy: int, model_config: bool, _private: str = "x") -> None: ...

    made = tool(odd)
    assert list(made.spec.parameters["properties"]) == ["schema", "copy", "model_config", "_private"]
    assert made.validate({"schema": "a", "copy": "2", "model_config": True}) == {
        "schema": "a",
        "copy": 2,
        "model_config": True,
    }


def test_no_parameters() -> None:
    """A function without parameters is a tool that takes none."""

    def now() -> str:
        return "noon"

    assert tool(now).spec.parameters["properties"] == {}
    with pytest.raises(ValueError, match="when: there is no such parameter"):
        tool(now).validate({"when": 1})


def test_coercion_and_mistakes() -> None:
    """Arguments are coerced to the function's types, and each mistake is named with what was given."""
    made = tool(google)
    assert made.validate({"city": "Paris", "days": "4", "unit": "fahrenheit"}) == {
        "city": "Paris",
        "days": 4,
        "unit": Unit.FAHRENHEIT,
    }
    with pytest.raises(ValueError, match="city: this parameter is required") as caught:
        made.validate({"days": "many", "unit": "kelvin", "foo": 1})
    text = str(caught.value)
    assert "days:" in text
    assert "'many'" in text
    assert "unit:" in text
    assert "foo: there is no such parameter" in text


def test_decorator_with_options() -> None:
    """Options stand on the tool, and the tool is still the function."""

    @tool(name="weather", description="Told.", timeout=5, concurrency=2, idempotent=True)
    def get(city: str) -> str:
        return city.upper()

    assert get("paris") == "PARIS"
    assert (get.name, get.spec.description, get.timeout, get.concurrency, get.idempotent) == (
        "weather",
        "Told.",
        5,
        2,
        True,
    )

    @tool
    def bare(city: str) -> str:
        return city

    assert bare("x") == "x"
    assert (bare.name, bare.timeout, bare.concurrency, bare.idempotent) == ("bare", None, None, False)


def test_methods_partials_and_callables() -> None:
    """A bound method, a partial and a callable object are tools like functions."""

    class Shop:
        def price(self, item: str) -> int:
            """The price."""
            return len(item)

        def __call__(self, item: str) -> int:
            return len(item)

    def cost(item: str, factor: int) -> int:
        """The cost."""
        return len(item) * factor

    assert tool(Shop().price).validate({"item": "pen"}) == {"item": "pen"}
    assert tool(name="shop")(Shop()).spec.parameters["required"] == ["item"]
    half = tool(name="cost")(functools.partial(cost, factor=2))
    assert half.spec.parameters["required"] == ["item"]
    assert half("pen") == 6
    assert half.description == "The cost."


def no_type(city) -> str:  # type: ignore[no-untyped-def]
    return str(city)


def star(*cities: str) -> str: ...  # type: ignore[empty-body]
def keywords(**cities: str) -> str: ...  # type: ignore[empty-body]
def positional(city: str, /) -> str: ...  # type: ignore[empty-body]
def function(callback: Callable[[int], int]) -> str: ...  # type: ignore[empty-body]
def unknown(city: "Nowhere") -> str: ...  # type: ignore[empty-body, name-defined]  # noqa: F821


class Plain:
    """A class without a schema."""


def plain(thing: Plain) -> str: ...  # type: ignore[empty-body]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (no_type, "parameter 'city' has no type; annotate it, as in city: str"),
        (star, r"takes \*cities"),
        (keywords, r"takes \*\*cities"),
        (positional, "'city' is positional-only.*remove the '/'"),
        (function, "parameter 'callback' has a type that has no JSON schema"),
        (unknown, "annotations cannot be resolved.*Nowhere.*module level"),
        (plain, "parameter 'thing' has a type that has no JSON schema, Plain"),
        (Plain, "it is a class"),
        (lambda: "x", r"name '<lambda>'.*@tool\(name=\.\.\.\)"),
        ("text", "not callable"),
    ],
)
def test_indescribable_functions_are_refused(function: Any, reason: str) -> None:
    """What no model could call is refused at once, with the function's name, the reason and what mends it."""
    with pytest.raises(ToolDefinitionError, match=reason) as caught:
        tool(function)
    assert caught.value.function in str(caught.value)
    with pytest.raises(ToolDefinitionError):
        as_tools([function])


@pytest.mark.parametrize(
    "options", [{"name": "get weather"}, {"name": "x" * 65}, {"name": ""}, {"timeout": 0}, {"concurrency": 0}]
)
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    """A name that no provider takes, and times and numbers that mean nothing, are refused."""
    with pytest.raises(ToolDefinitionError):
        tool(**options)(google)


def test_two_tools_of_one_name() -> None:
    """Two tools of one name in one list are refused."""
    with pytest.raises(ToolDefinitionError, match="two tools are named 'google'"):
        as_tools([google, tool(google)])


def test_plain_functions_are_taken() -> None:
    """A plain function in a list of tools becomes the same tool as by the decorator."""
    (made,) = as_tools([google])
    assert isinstance(made, Tool)
    assert made.spec == tool(google).spec


def test_tools_survive_pickling() -> None:
    """A tool that travelled validates and describes as before."""
    copy = pickle.loads(pickle.dumps(tool(google)))
    assert copy.spec == tool(google).spec
    assert copy.validate({"city": "Rome", "unit": "celsius"}) == {"city": "Rome", "unit": Unit.CELSIUS}


def test_a_default_of_none_admits_none() -> None:
    """`note: str = None` takes null, as the default that the model is shown says."""

    def write(text: str, note: str = None, count: Annotated[int, pydantic.Field(ge=1)] = None) -> str:  # type: ignore[assignment]  # noqa: RUF013
        return f"{text} {note} {count}"

    made = tool(write)
    properties = made.spec.parameters["properties"]
    assert properties["note"] == {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}
    assert made.validate({"text": "a", "note": None, "count": None}) == {
        "text": "a",
        "note": None,
        "count": None,
    }


def test_what_is_returned_need_not_be_known() -> None:
    """A return annotation that only type checkers can see is no reason to refuse a tool."""

    def now(zone: str) -> "NowhereDefined":  # type: ignore[name-defined]  # noqa: F821
        return zone

    assert list(tool(now).spec.parameters["properties"]) == ["zone"]


class Refund(pydantic.BaseModel):
    """Give money back.

    Attributes:
        amount: In euro.
    """

    amount: float = pydantic.Field(gt=0)
    reason: Annotated[str, pydantic.Field(description="For the books.")] = "none"

    @pydantic.model_validator(mode="after")
    def _explained(self) -> "Refund":
        if self.amount > 50 and self.reason == "none":
            raise ValueError("more than 50 needs a reason")
        return self

    async def run(self, context: ToolContext) -> str:
        return f"{context.call_id}: {self.amount}, {self.reason}"


class Called(pydantic.BaseModel):
    text: str

    def __call__(self) -> str:
        return self.text.upper()


def test_models_are_tools() -> None:
    """A pydantic model with `run` is a tool: its fields are the arguments, its validators hold."""
    made, called = as_tools([Refund, Called])
    assert (made.name, made.description) == ("Refund", "Give money back.")
    properties = made.spec.parameters["properties"]
    assert properties["amount"] == {"type": "number", "exclusiveMinimum": 0, "description": "In euro."}
    assert properties["reason"] == {"type": "string", "description": "For the books.", "default": "none"}
    assert made.spec.parameters["required"] == ["amount"]
    assert made.is_async
    assert made.context_parameter == "context"
    assert made.validate({"amount": "5"}) == {"self": Refund(amount=5)}
    with pytest.raises(ValueError, match="more than 50 needs a reason"):
        made.validate({"amount": 60})
    assert called.function(**called.validate({"text": "a"})) == "A"


class Asks(pydantic.BaseModel):
    text: str

    def run(self, other: int) -> str:
        return self.text * other


@pytest.mark.parametrize(
    ("model", "reason"), [(Place, "no method `run"), (Asks, "takes 'other'.*make it a field")]
)
def test_models_that_cannot_run(model: Any, reason: str) -> None:
    """A model without a method, or whose method wants more than the fields, is refused."""
    with pytest.raises(ToolDefinitionError, match=reason):
        tool(model)


async def test_tools_of_a_schema() -> None:
    """A tool may bring its schema: its function takes what the model gave, as it is."""

    def look(arguments: dict[str, Any], context: ToolContext) -> Any:
        return arguments

    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    made = Tool.from_schema(look, name="look", description="Look.", parameters=schema, retries=1)
    assert (made.spec.parameters, made.description, made.retries) == (schema, "Look.", 1)
    assert made.validate({"a": "x"}) == {"arguments": {"a": "x"}}
    assert pickle.loads(pickle.dumps(tool(google))).options == tool(google).options


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"retries": -1}, "retries is -1"),
        ({"process": True, "remote": True}, "exclude each other"),
        ({"memory": 10}, "give process=True with it"),
        ({"process": True, "memory": 0}, "memory is 0"),
        ({"num_cpus": 1}, "give remote=True with it"),
        ({"remote": True, "resources": {"press": -1}}, "resources is {'press': -1}; give amounts"),
        ({"remote": True, "resources": ["press"]}, "resources is .* give amounts"),
        ({"remote": True, "num_cpus": -1}, "num_cpus is -1; give a number from 0"),
        ({"timeout": "5"}, "timeout is '5'; give seconds above 0"),
        ({"timeout": math.nan}, "timeout is nan; give seconds above 0"),
        ({"retries": True}, "retries is True; give a whole number from 0"),
        ({"process": True, "memory": "500M"}, "memory is '500M'; give a whole number of bytes"),
        ({"approval": "yes"}, "approval is 'yes'; give True or False"),
        ({"speed": 1}, "there is no option 'speed'"),
    ],
)
def test_options_that_do_not_fit(options: dict[str, Any], reason: str) -> None:
    """Options that mean nothing, or nothing together, are refused with what mends them."""
    with pytest.raises(ToolDefinitionError, match=reason):
        tool(**options)(google)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"parameters": {"type": "array"}}, "a JSON schema of type object"),
        ({"parameters": "{}"}, "a JSON schema of type object"),
        ({"description": 5}, "description is 5; give a text"),
        ({"name": 5}, "the name 5 is not"),
    ],
)
def test_schemas_that_are_none(given: dict[str, Any], reason: str) -> None:
    """A tool of a JSON schema is refused where what is told of it could not be sent to a model."""
    made: dict[str, Any] = {"name": "box", "description": "A box.", "parameters": {}, **given}
    with pytest.raises(ToolDefinitionError, match=reason):
        Tool.from_schema(lambda arguments, context: "", **made)


@pytest.mark.parametrize("given", ["box", 5, None])
def test_tools_that_are_no_list(given: Any) -> None:
    """What is no list of tools is refused with how one is given."""
    with pytest.raises(ToolDefinitionError, match=r"tools=\[…\]"):
        as_tools(given)
