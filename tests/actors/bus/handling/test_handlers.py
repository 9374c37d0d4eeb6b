"""What can be a handler, and by which name it is known."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from llmgine.actors.bus import InvalidHandler
from llmgine.actors.bus.handling.handlers import anonymous_name, default_name, takes_delivery


class Callable:
    def __call__(self, event: Any) -> None: ...
    def method(self, event: Any) -> None: ...


def plain(event: Any) -> None: ...
def with_delivery(event: Any, delivery: Any) -> None: ...
def with_optional(event: Any, delivery: Any = None) -> None: ...


def test_how_a_handler_is_called() -> None:
    """The delivery is passed to who asks for it; a default argument is no question."""
    assert not takes_delivery(plain)
    assert takes_delivery(with_delivery)
    assert takes_delivery(with_optional)
    assert not takes_delivery(lambda event, number=3: number)
    assert not takes_delivery(Callable())
    assert not takes_delivery(Callable().method)
    assert not takes_delivery(lambda *rest: None)
    assert takes_delivery(functools.partial(lambda extra, event, delivery: None, 1))
    bad: list[Any] = [lambda: None, lambda a, b, c: None, lambda event, *, key: None, 3]
    for handler in bad:
        with pytest.raises(InvalidHandler):
            takes_delivery(handler)


def test_names_of_handlers() -> None:
    """A module's function goes by its name; what a name cannot tell apart gets one of its own."""
    assert default_name(plain) == f"{__name__}.plain"
    for handler in (lambda event: None, Callable().method, Callable(), functools.partial(plain)):
        assert default_name(handler) is None
        assert anonymous_name(handler, "c.1", 1) != anonymous_name(handler, "c.1", 2)
