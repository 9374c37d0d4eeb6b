"""`llmgine top`: the whole runtime at a glance, again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llmgine.runtime.commands.buses import Part, drawn
from llmgine.runtime.commands.output import AsJson, table
from llmgine.runtime.commands.preflight import DEFAULT_RUNTIME, RuntimeName
from llmgine.runtime.commands.traced import money
from llmgine.runtime.commands.watching import Every, Ticks, Watch, watch

if TYPE_CHECKING:
    from rich.console import RenderableType

    from llmgine.actors.gateway.shapes import Overview
    from llmgine.runtime import Runtime
    from llmgine.telemetry import SessionSummary

# Sessions that are listed, the last active first.
_SESSIONS = 10

_RATES = {
    "events_published": "events",
    "events_failed": "failed events",
    "commands_sent": "commands",
    "commands_failed": "failed commands",
    "calls": "model calls",
    "failed_calls": "failed calls",
    "tokens": "tokens",
}


@dataclass(frozen=True, slots=True)
class Glance:
    """What one look has found."""

    overview: Overview
    breakers: dict[str, str]
    sessions: tuple[SessionSummary, ...]


def top(
    every: Every = 1.0,
    ticks: Ticks = None,
    as_json: AsJson = False,
    name: RuntimeName = DEFAULT_RUNTIME,
) -> None:
    """Watch the runtime: rates, sessions, pools, breakers and cost, until q or Ctrl-C.

    Where nobody watches, it says once what an interval has brought. Example: `llmgine top --every 2`
    """
    shown = Shown()
    watch(name, Watch(glance, shown.drawn, shown.plain, shown.json), every, ticks, as_json=as_json)


async def glance(runtime: Runtime) -> Glance:
    """The overview that the dashboard has, too, and the sessions that were active last."""
    overview = await runtime.overview()
    breakers = (await runtime.bus.statistics())["circuit_breaker_state"] if overview.breakers_open else {}
    sessions: tuple[SessionSummary, ...] = ()
    if runtime.settings.telemetry.enabled:
        sessions = (await runtime.telemetry.sessions(limit=_SESSIONS)).items
    return Glance(overview, breakers, sessions)


class Shown:
    """Glances with what has changed a second since the one before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._at = clock()
        self._counts: dict[str, int] = {}

    def json(self, found: Glance) -> dict[str, Any]:
        return {
            **found.overview.model_dump(mode="json"),
            "per_second": self.rates(found.overview),
            "breakers": found.breakers,
            "active_sessions": [one.to_json() for one in found.sessions],
        }

    def plain(self, found: Glance) -> None:
        for title, columns, rows in self._parts(found):
            table(title, columns, rows)

    def drawn(self, found: Glance) -> RenderableType:
        from rich.console import Group

        held, rates, *lists = self._parts(found)
        return Group(_figures(held), _figures(rates), drawn(iter(lists)))

    def rates(self, overview: Overview) -> dict[str, float]:
        """What came a second; nothing yet for what is seen for the first time."""
        now = self._clock()
        seconds, self._at = max(now - self._at, 1e-3), now
        before, self._counts = self._counts, _counts(overview)
        return {
            name: round(max(0, count - before.get(name, count)) / seconds, 1)
            for name, count in self._counts.items()
        }

    def _parts(self, found: Glance) -> list[Part]:
        one, rates = found.overview, self.rates(found.overview)
        holds = {
            "sessions open": one.sessions,
            "sessions with turns": one.turns_pending,
            "approvals": one.approvals_pending,
            "dead letters": "unknown" if one.dead_letters is None else one.dead_letters,
            "queued": one.queue_size,
            "breakers open": one.breakers_open,
            "actors": len(one.actors),
            "drivers": one.drivers,
            "tokens in": one.tokens.input,
            "tokens out": one.tokens.output,
            "cost": money(one.cost) or "none",
        }
        up = one.now - one.started
        parts: list[Part] = [
            _row(f"runtime {one.runtime}, up {str(up).partition('.')[0]}; q or Ctrl-C ends", holds),
            _row("a second", {_RATES[name]: rate for name, rate in rates.items()}),
            ("pools", _POOL, [_pool(pool) for pool in one.pools if pool.size or pool.actors]),
            ("sessions, last active first", _SESSION, [_session(session) for session in found.sessions]),
            ("breakers", ("handler", "state"), list(found.breakers.items())),
        ]
        return [part for part in parts if part[2]]


def _figures(part: Part) -> RenderableType:
    """Names with their values, as many beside each other as there is room for."""
    from rich.columns import Columns
    from rich.console import Group
    from rich.text import Text

    title, names, [values] = part
    cells = [Text.assemble(f"{name} ", (value, "bold")) for name, value in zip(names, values, strict=True)]
    return Group(Text(title, style="italic"), Columns(cells, padding=(0, 3), equal=True), Text())


_POOL = ("pool", "ready", "size", "in flight", "waiting", "done", "failed", "last failure")
_SESSION = ("session", "running", "traces", "errors", "tokens", "cost", "models")


def _counts(overview: Overview) -> dict[str, int]:
    bus, pools = overview.bus, overview.pools
    return {
        **{
            name: int(bus.get(f"{name}_total", 0))
            for name in ("events_published", "events_failed", "commands_sent", "commands_failed")
        },
        "calls": sum(pool.done for pool in pools),
        "failed_calls": sum(pool.failed for pool in pools),
        "tokens": overview.tokens.input + overview.tokens.output,
    }


def _row(title: str, values: dict[str, Any]) -> Part:
    return title, tuple(values), [tuple(map(str, values.values()))]


def _pool(pool: Any) -> tuple[str, ...]:
    figures = (pool.ready, pool.size, pool.in_flight, pool.waiting, pool.done, pool.failed)
    return (pool.provider, *map(str, figures), pool.failure or "")


def _session(one: SessionSummary) -> tuple[str, ...]:
    tokens = str(one.tokens.input + one.tokens.output)
    counts = (one.running, one.traces, one.errors)
    return (one.session, *map(str, counts), tokens, money(one.cost, one.unpriced), ", ".join(one.models))
