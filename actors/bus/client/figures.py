"""What several routers tell, as that of one bus. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

# Every router mirrors the one table of subscriptions, and every client talks with each of them.
_SHARED: Final = frozenset(
    {
        "registered_handlers",
        "active_sessions",
        "handlers",
        "event_handlers",
        "command_handlers",
        "connected_clients",
    }
)
_WORST_FIRST: Final = ("open", "half_open", "closed")


def merged(reports: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Counts are added up, what each router has of the same table is taken once, breakers at their worst."""
    whole: dict[str, Any] = {}
    for report in reports:
        for key, value in report.items():
            whole[key] = _both(whole[key], value, key in _SHARED) if key in whole else value
    return whole


def _both(one: Any, other: Any, shared: bool) -> Any:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        if not shared:
            return merged((one, other))
        return {key: max(one.get(key, 0), other.get(key, 0)) for key in {**one, **other}}
    if isinstance(one, list) and isinstance(other, list):
        return [*one, *other]
    if isinstance(one, str) and isinstance(other, str):
        return min(one, other, key=_badness)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return max(one, other) if shared else one + other
    return one if other is None else other


def _badness(state: str) -> int:
    return _WORST_FIRST.index(state) if state in _WORST_FIRST else len(_WORST_FIRST)


class StoryLine(NamedTuple):
    """Something remarkable that happened to a message: which handler, which session, and why."""

    at: datetime
    what: str
    handler: str
    session_id: str
    message: str
    text: str

    @classmethod
    def from_wire(cls, line: Sequence[Any]) -> StoryLine:
        return cls(datetime.fromtimestamp(line[0], UTC), *line[1:])


def told(stories: Iterable[Iterable[Sequence[Any]]]) -> list[StoryLine]:
    """The stories of several routers as one, the oldest line first."""
    lines = sorted((line for story in stories for line in story), key=lambda line: line[0])
    return [StoryLine.from_wire(line) for line in lines]
