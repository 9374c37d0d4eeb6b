"""Everything that the gateway asks of its runtime, as one interface.

The gateway knows no driver: who starts it hands it a port. What is not there is raised as a `Refusal`
such as `NotFound`; any other `LlmgineError` is answered by what it is.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from llmgine.actors.control import Boot
from llmgine.actors.gateway import shapes
from llmgine.actors.sessions import Limits, TurnEvent
from llmgine.actors.store.rows import ApprovalState
from llmgine.providers import (
    EmbeddingRequest,
    EmbeddingResponse,
    LLMRequest,
    Message,
    Origin,
    OutputSchema,
    StreamEvent,
    ToolSpec,
)
from llmgine.telemetry import TraceContext
from llmgine.telemetry.answers import CostBy


@dataclass(frozen=True, slots=True)
class TurnAsk:
    """A turn as a client asks for it; its `limits` go over the session's.

    `messages` follow what the session holds: one prompt of the user, or results of the client's own
    `tools` and whatever comes after them. Calls of those tools end the turn and are the client's to answer;
    the session's tools run in the session. `system` holds for this turn where the session has none of its
    own. `options` go to the engine, such as `tool_choice`. The turn of a `key` is taken on once; `trace` is
    what it stands below. One that `goes_on` is not cancelled where its events are left early.
    """

    session: str
    messages: Sequence[Message]
    model: str | None = None
    system: str | None = None
    tools: Sequence[ToolSpec] = ()
    output: OutputSchema | None = None
    options: dict[str, Any] = field(default_factory=dict)
    limits: Limits | None = None
    key: str | None = None
    goes_on: bool = False
    trace: TraceContext | None = None


@dataclass(frozen=True, slots=True)
class TraceChoice:
    """Which traces are meant; what is None says nothing."""

    session: str | None = None
    error: bool | None = None
    min_seconds: float | None = None
    model: str | None = None
    text: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class ModelPort(Protocol):
    """Models by their names, and sessions asked in a vendor's words."""

    async def models(self) -> list[shapes.ModelRow]: ...

    async def target(self, model: str) -> Origin:
        """What a model's name stands for, the first where it stands for several; `UnknownModel`."""
        ...

    def complete(self, request: LLMRequest, trace: TraceContext | None) -> AsyncGenerator[StreamEvent]:
        """The call's events, the last `Done` or `Failed`; closing it cancels the call."""
        ...

    async def embed(self, request: EmbeddingRequest, trace: TraceContext | None) -> EmbeddingResponse: ...

    def turn(self, ask: TurnAsk) -> AsyncGenerator[TurnEvent]:
        """The turn's events, the last `TurnDone` or `TurnFailed`.

        Left early it is cancelled, unless it `goes_on`. A session that is not known is opened where the ask
        names a model, a closed one as it was; it stays then.
        """
        ...

    async def last_turn(self, session: str) -> str | None:
        """The id of the session's last turn that has not failed or been cancelled; None for none."""
        ...


class SessionPort(Protocol):
    async def sessions(
        self, query: str, cursor: str | None, limit: int
    ) -> shapes.Page[shapes.SessionRow]: ...

    async def session(self, id: str) -> shapes.SessionDetail: ...

    async def check_session(self, id: str) -> None:
        """Returns where the session is kept; `NotFound` where it is not."""
        ...

    async def messages(self, id: str, cursor: str | None, limit: int) -> shapes.Page[shapes.MessageRow]: ...

    async def waterfall(self, id: str) -> shapes.Waterfall: ...

    async def fork_before(self, id: str, turn_id: str) -> TurnAsk:
        """What that turn was asked, of a new session that holds what was said before it.

        `Unprocessable` for a turn that went on from results, as the calls of those are none of the fork's.
        """
        ...


class OperationsPort(Protocol):
    async def overview(self) -> shapes.Overview: ...

    async def bus(self) -> shapes.BusState: ...

    async def letters(
        self,
        cursor: str | None,
        limit: int,
        *,
        handler: str | None = None,
        reason: str | None = None,
        session: str | None = None,
        type: str | None = None,
    ) -> shapes.Page[shapes.LetterRow]: ...

    async def letter(self, id: str) -> shapes.LetterDetail: ...

    async def replay_letter(self, id: str) -> shapes.Replayed: ...

    async def discard_letter(self, id: str) -> None: ...

    async def approvals(
        self, state: ApprovalState | None, cursor: str | None, limit: int
    ) -> shapes.Page[shapes.ApprovalRow]: ...

    async def answer(self, id: str, *, approve: bool, note: str, by: str) -> shapes.ApprovalRow: ...

    async def pools(self) -> list[shapes.PoolRow]: ...

    async def scale(self, pool: str, size: int) -> shapes.PoolRow: ...

    async def drain(self, pool: str) -> None:
        """Returns when the draining has begun."""
        ...

    async def schedules(self) -> list[shapes.ScheduleRow]: ...

    async def settings(self) -> dict[str, Any]: ...


class TracePort(Protocol):
    async def traces(
        self, choice: TraceChoice, cursor: str | None, limit: int
    ) -> shapes.Page[shapes.TraceRow]: ...

    async def trace(self, id: str) -> shapes.Waterfall: ...

    async def cost(self, by: CostBy, since: datetime | None) -> shapes.CostTable: ...


class GatewayPort(ModelPort, SessionPort, OperationsPort, TracePort, Protocol):
    """The runtime as the gateway sees it."""


class OpensPort(Protocol):
    """What the gateway's actor is given the import path of: a way into the runtime that it belongs to."""

    def __call__(self, boot: Boot) -> AbstractAsyncContextManager[GatewayPort]: ...
