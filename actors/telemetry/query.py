"""Questions to the telemetry actor."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from llmgine.actors.link import Connection, request
from llmgine.actors.telemetry.client import Connects
from llmgine.actors.telemetry.host import QUERY
from llmgine.actors.telemetry.live import LIVE
from llmgine.telemetry import (
    Change,
    CostRow,
    Cut,
    ModelStats,
    Page,
    Row,
    SessionSummary,
    Span,
    Stats,
    TraceQuery,
    TraceSummary,
    session_waterfall,
    waterfall,
)
from llmgine.telemetry.answers import CostBy, ExportFormat


@dataclass(frozen=True, slots=True)
class View:
    """Spans as they stood at `now`, with all that a session's models came to where one was asked for.

    `truncated` spans were left out because an answer is bounded; `cuts` are the processes that died over
    them, and how far what these did is known.
    """

    name: str
    spans: tuple[Span, ...]
    usage: tuple[ModelStats, ...]
    truncated: int
    now: int
    is_session: bool
    cuts: tuple[Cut, ...] = ()

    def rows(self) -> list[Row]:
        """The spans as a waterfall."""
        return (
            session_waterfall(self.name, self.spans, self.now)
            if self.is_session
            else waterfall(self.spans, self.now)
        )


class TelemetryClient:
    """Asks over the link; raises `LinkError` where there is no answer in time."""

    def __init__(self, peer: Connects, *, timeout: float = 5.0) -> None:
        self._peer = peer
        self._timeout = timeout

    async def sessions(
        self,
        query: str = "",
        limit: int = 50,
        cursor: str | None = None,
        *,
        ids: Sequence[str] | None = None,
    ) -> Page[SessionSummary]:
        """Sessions whose id or one of whose models contains `query`, the one last active first.

        With `ids` only these are told of.
        """
        chosen = None if ids is None else list(ids)
        question = {"sessions": query, "limit": limit, "cursor": cursor, "ids": chosen}
        return Page.from_wire(await self._ask(question), SessionSummary.from_wire)

    async def traces(
        self, query: TraceQuery | None = None, limit: int = 50, cursor: str | None = None
    ) -> Page[TraceSummary]:
        """Traces that meet the query, the newest first."""
        question = {"traces": (query or TraceQuery()).to_wire(), "limit": limit, "cursor": cursor}
        return Page.from_wire(await self._ask(question), TraceSummary.from_wire)

    async def session(self, session: str) -> View:
        """Every trace of a session that is still kept."""
        return _view(session, await self._ask({"session": session}), is_session=True)

    async def usage(self, session: str) -> tuple[ModelStats, ...]:
        """What the calls of a session came to, by model; without its spans, which may be many."""
        return tuple(map(ModelStats.from_wire, (await self._ask({"usage": session}))["usage"]))

    async def trace(self, trace_id: str) -> View:
        """One trace by its id in hexadecimal; no spans where it is not kept."""
        return _view(trace_id, await self._ask({"trace": trace_id}), is_session=False)

    async def stats(self, since: int | None = None) -> Stats:
        """What all calls came to, of all time or since that hour: tokens, cost, latencies, errors."""
        return Stats.from_wire((await self._ask({"stats": since}))["stats"])

    async def cost(self, by: CostBy = "session", since: int | None = None) -> tuple[CostRow, ...]:
        """What all calls came to, of all time or since that hour, the dearest first.

        Past 10,000 sessions the cheaper ones are told as one, `other`.
        """
        answer = await self._ask({"cost": by, "since": since})
        return tuple(map(CostRow.from_wire, answer["rows"]))

    async def export(self, trace_id: str, format: ExportFormat = "otlp-json") -> str:
        """One trace as text of that format; empty where it is not kept."""
        text, after = "", [0, 0]
        while after is not None:
            answer = await self._ask({"export": trace_id, "format": format, "after": after})
            text, after = text + answer["export"], answer["next"]
        return text

    async def live(
        self, session: str | None = None, *, watching: Callable[[], None] | None = None
    ) -> AsyncGenerator[Change, None]:
        """Spans as they begin and end, of one session or of all; a break raises `LinkError`.

        `watching` is called once from when on nothing is left out but what is told as missed.
        """
        connection = await self._reach()
        stream = connection.open(LIVE, {"session": session})
        try:
            await stream.receive()
            if watching is not None:
                watching()
            async for message in stream:
                yield Change.from_wire(message)
        finally:
            stream.reset("done")

    async def keep(self, session: str) -> None:
        """Keep every trace of a session from now on, whatever is sampled; `*` stands for anything.

        It holds until the telemetry actor starts again; `telemetry.sample_sessions` holds for ever.
        """
        await self._ask({"keep": session})

    async def pause(self) -> None:
        """Take in no more spans: what begins from now on is neither kept, summed, exported nor told.

        It holds in the telemetry actor, until that starts again. Processes go on recording, and metrics go
        on; where nothing shall be recorded at all, launch with telemetry.enabled off.
        """
        await self._ask({"pause": True})

    async def resume(self) -> None:
        """Take in spans again; of those that began meanwhile the ones that end from now on."""
        await self._ask({"pause": False})

    async def counters(self) -> dict[str, Any]:
        """What was received, lost, forgotten and exported; sources; metrics."""
        return await self._ask({"counters": True})

    async def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        connection = await self._reach()
        answer: dict[str, Any] = await request(connection, QUERY, question, timeout=self._timeout)
        return answer

    async def _reach(self) -> Connection:
        return await self._peer.connection()


def _view(name: str, answer: dict[str, Any], *, is_session: bool) -> View:
    spans = tuple(Span.from_wire(wire) for trace in answer["traces"] for wire in trace["spans"])
    cuts = tuple(Cut(*cut) for trace in answer["traces"] for cut in trace["cuts"])
    usage = tuple(map(ModelStats.from_wire, answer.get("usage", ())))
    return View(name, spans, usage, answer["truncated"], answer["now"], is_session, cuts)
