"""The bus as a driver holds it: the whole of it, or one session's scope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from llmgine.actors.bus import BusClient, Command, CommandResult, Event, Receipt, Subscription

E = TypeVar("E", bound=Event)
C = TypeVar("C", bound=Command[Any])
R = TypeVar("R")
