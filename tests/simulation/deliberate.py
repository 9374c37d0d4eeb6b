"""Bugs that can be switched on: each replaces a function and breaks one promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest import mock

Bug = Callable[[], AbstractContextManager[Any]]


class Bugs(dict[str, Bug]):
    """By name."""

    def of(self, owner: Any, name: str) -> Callable[[Callable[..., Any]], Bug]:
        """The decorated function replaces that one of the owner; it gets the real one first."""

        def decorate(wrong: Callable[..., Any]) -> Bug:
            @contextmanager
            def switched_on() -> Iterator[None]:
                right = getattr(owner, name)
                with mock.patch.object(owner, name, lambda *args, **kwargs: wrong(right, *args, **kwargs)):
                    yield

            self[wrong.__name__.replace("_", " ")] = switched_on
            return switched_on

        return decorate
