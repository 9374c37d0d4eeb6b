"""Questions to the telemetry actor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmgine.actors.link import request
from llmgine.actors.telemetry.client import Connects
from llmgine.actors.telemetry.host import QUERY
from llmgine.telemetry import Row, Span, session_waterfall, waterfall


@dataclass(frozen=True, slots=True)
class View:
    """Spans as they stood at `now`, with usage per model where a session was asked for.

    `truncated` spans were left out because an answer is bounded.
    """

    name: str
    spans: tuple[Span, ...]
    usage: tuple[dict[str, Any], ...]
    truncated: int
    now: int
    is_session: bool

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

    async def session(self, session: str) -> View:
        """Every trace of a session that is still kept."""
        return _view(session, await self._ask({"session": session}), is_session=True)

    async def trace(self, trace_id: str) -> View:
        """One trace by its id in hexadecimal; no spans where it is not kept."""
        return _view(trace_id, await self._ask({"trace": trace_id}), is_session=False)

    async def summary(self, limit: int = 50) -> dict[str, Any]:
        """The latest traces, usage per model, and counters."""
        return await self._ask({"summary": limit})

    async def counters(self) -> dict[str, Any]:
        """What was received, lost, forgotten and exported; sources; metrics."""
        return await self._ask({"counters": True})

    async def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        connection = await self._peer.connection()
        answer: dict[str, Any] = await request(connection, QUERY, question, timeout=self._timeout)
        return answer


def _view(name: str, answer: dict[str, Any], *, is_session: bool) -> View:
    spans = tuple(Span.from_wire(wire) for trace in answer["traces"] for wire in trace["spans"])
    return View(name, spans, tuple(answer.get("usage", ())), answer["truncated"], answer["now"], is_session)
