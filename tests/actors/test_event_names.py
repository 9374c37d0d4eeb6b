"""Every event class of ours has its row in the table of names, and the row says something that exists."""

from __future__ import annotations

import importlib
import pkgutil
from typing import get_args

import llmgine.actors
from llmgine.actors.bus import Event
from llmgine.actors.sessions.turns.events import TurnEvent
from llmgine.providers.events import StreamEvent
from llmgine.telemetry import names


def told_on_the_bus() -> set[type[Event]]:
    """The classes of events that the runtime itself publishes."""
    for module in pkgutil.walk_packages(llmgine.actors.__path__, "llmgine.actors."):
        if module.name.endswith((".messages", ".letters", ".events")):
            importlib.import_module(module.name)
    found, classes = set(), [Event]
    while classes:
        below = classes.pop().__subclasses__()
        classes += below
        found |= {one for one in below if one.__module__.startswith("llmgine.actors.")}
    return found


def test_every_event_class_has_its_row() -> None:
    """A new class of a model's stream, of a turn's or of the bus needs a row; one that goes loses it."""
    classes = {*get_args(StreamEvent), *get_args(TurnEvent), *told_on_the_bus()}
    assert {one.__name__ for one in classes} == names.EVENTS.keys()


def test_every_row_names_what_there_is() -> None:
    """A counter is a metric, a span event is one of the table's, and a span begins with an operation."""
    constants = vars(names).items()
    events = {value for name, value in constants if name.startswith("EVENT_")}
    operations = {value for name, value in constants if name.startswith("OPERATION_")}
    for name, shown in names.EVENTS.items():
        known = {"counter": set(names.METRICS), "span event": events, "span": operations}[shown.kind]
        assert shown.name in known, name
