"""Prompts with declared variables."""

from __future__ import annotations

import pickle
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from llmgine.runtime import Prompt, PromptRefused, PromptVariables, Runtime


class Person(BaseModel):
    name: str
    age: int


def test_a_prompt_is_rendered_with_its_variables() -> None:
    """Declared variables of any type stand where the template puts them."""
    prompt = Prompt(
        "{% for person in people %}\n{{ person.name }} is {{ person.age }}.\n{% endfor %}\nTone: {{ tone }}",
        people=list[Person],
        tone=Literal["kind", "curt"],
    )
    said = prompt.render(people=[Person(name="Anna", age=30), Person(name="Ben", age=4)], tone="kind")
    assert said == "Anna is 30.\nBen is 4.\nTone: kind"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, "name is missing"),
        ({"name": "Anna", "nmae": "Ben"}, "nmae is unknown (it takes name)"),
        ({"name": 3}, "name: Input should be a valid string"),
        ({"name": None}, "name: Input should be a valid string"),
    ],
)
def test_a_wrong_variable_is_named(values: dict[str, Any], named: str) -> None:
    """A variable that is missing, unknown or of a wrong type is told by its name, and nothing is rendered."""
    with pytest.raises(PromptVariables) as refused:
        Prompt("Hello {{ name }}", name=str).render(**values)
    assert named in str(refused.value)


def test_all_mistakes_are_told_at_once() -> None:
    """One error lists each variable that is wrong, down to the field of a model."""
    prompt = Prompt("{{ a }} {{ b }} {{ people }}", a=int, b=str, people=list[Person])
    with pytest.raises(PromptVariables) as refused:
        prompt.render(a="1", c=2, people=[{"name": "Anna"}])
    said = str(refused.value)
    assert all(part in said for part in ("a: ", "b is missing", "c is unknown", "people.0.age: "))


@pytest.mark.parametrize(
    ("text", "variables", "named"),
    [
        ("Hello {{ name }}", {}, "uses name, not declared; declare it, as in name=str"),
        ("Hello", {"name": str}, "declares name and does not use it"),
        ("Hello {{ name", {"name": str}, "line 1"),
        ("{% include 'other' %}", {}, "includes another template"),
        ("Hello {{ name }}", {"name": "Anna"}, "declares name='Anna', which is no type"),
    ],
)
def test_a_bad_template_is_refused_where_it_is_written(
    text: str, variables: dict[str, Any], named: str
) -> None:
    """What cannot ever be rendered is refused at construction, with the reason."""
    with pytest.raises(PromptRefused) as refused:
        Prompt(text, **variables)
    assert named in str(refused.value)


def test_values_are_data() -> None:
    """A value that looks like a template is put in as it is."""
    assert Prompt("{{ said }}", said=str).render(said="{{ 1 + 1 }} <b>") == "{{ 1 + 1 }} <b>"


@pytest.mark.parametrize(
    "text",
    [
        "{{ x.__class__.__mro__ }}",
        "{{ x.missing }}",
        "{% for i in range(10**9) %}{% endfor %}{{ x }}",
        "{{ 1 // x }}",
    ],
)
def test_a_template_reaches_nothing_but_its_values(text: str) -> None:
    """Internals of values, attributes that are not there, and endless ranges are errors."""
    with pytest.raises(PromptVariables):
        Prompt(text, x=int).render(x=0)


def test_a_prompt_can_be_kept_in_a_file(tmp_path: Path) -> None:
    """A file's text is a template like any other; one that is not there is told by its path."""
    (tmp_path / "hello.jinja").write_text("Hällo {{ name }}\n", encoding="utf-8")
    assert Prompt.file(tmp_path / "hello.jinja", name=str).render(name="Anna") == "Hällo Anna"
    with pytest.raises(PromptRefused, match=r"other\.jinja"):
        Prompt.file(tmp_path / "other.jinja")


class Mood(Enum):
    KIND = "kind"


def test_a_prompt_travels() -> None:
    """Prompts and their errors survive pickling."""
    prompt = pickle.loads(pickle.dumps(Prompt("{{ mood.value }}", mood=Mood)))
    assert prompt.render(mood=Mood.KIND) == "kind"
    with pytest.raises(PromptVariables) as refused:
        prompt.render()
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


async def test_prompts_are_for_system_and_turns_alike(clean_environ: Path) -> None:
    """A rendered prompt is a system prompt and a turn's prompt, and a wrong one makes no call."""
    role, question = Prompt("You help {{ name }}.", name=str), Prompt("How old is {{ who }}?", who=str)
    async with (
        Runtime.in_process() as runtime,
        runtime.session(model="scripted/echo", system=role.render(name="Anna")) as session,
    ):
        reply = await session.ask(question.render(who="Ben"))
        assert "How old is Ben?" in reply.text
        with pytest.raises(PromptVariables):
            await session.ask(question.render())
        assert len(await session.history()) == 2
