"""What all answers and bodies of the gateway's own interface share."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict

T = TypeVar("T")


def whole(value: object) -> object:
    """JSON has one kind of number: 2.0 is a whole one."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Shape(BaseModel):
    """A JSON object: times are ISO 8601 in UTC, durations seconds, money decimal texts in US dollars."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class Page(Shape, Generic[T]):
    """Part of a list; `next` asks for what follows, and is null at the end."""

    # Classes that are made of it have no source to read docstrings from.
    model_config = ConfigDict(use_attribute_docstrings=False)

    items: list[T]
    next: str | None = None


class ErrorBody(Shape):
    """What went wrong, and what mends it."""

    type: str
    message: str
    hint: str = ""


class ErrorAnswer(Shape):
    """The answer to whatever is not served."""

    error: ErrorBody
