"""What pydantic found wrong is told by place and reason, never by value."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from llmgine.providers.mistakes import mistakes


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")
    size: int = 1


class Outer(BaseModel):
    inner: Inner = Inner()
    names: list[str] = []

    @field_validator("names")
    @classmethod
    def _short(cls, names: list[str]) -> list[str]:
        if len(names) > 1:
            raise ValueError("one name is enough")
        return names


def error(given: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(given)
    return caught.value


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"names": [1]}, "names.0: Input should be a valid string"),
        ({"names": ["a", "b"]}, "names: one name is enough"),
        ({"inner": {"sise": 1}}, "inner.sise: there is no such field"),
        ("secret", "Input should be a valid dictionary or instance of Outer"),
    ],
)
def test_a_mistake_is_told_by_its_place_and_reason(given: Any, said: str) -> None:
    """One line for a person, without the value that was given."""
    assert mistakes(error(given)) == said


def test_only_the_first_mistakes_are_told() -> None:
    """A long list of mistakes stays one readable line."""
    assert mistakes(error({"names": [1, 2, 3, 4]}), most=2).count(";") == 1


def test_places_can_be_written_from_above() -> None:
    """A part of a larger whole tells its place in the whole."""
    assert mistakes(error({"names": [1]}), below="$.value").startswith("$.value.names.0: ")
    assert mistakes(error("secret"), below="$").startswith("$: ")
