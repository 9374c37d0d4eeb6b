"""What a session is opened with, and how its host is put together from it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmgine.actors.pools.client.spans import Servers, unknown_server
from llmgine.actors.sessions.context.window import Window
from llmgine.actors.sessions.hosting.activating import activate
from llmgine.actors.sessions.hosting.approvals import ApprovalDesk
from llmgine.actors.sessions.hosting.code import SessionCode, unpack
from llmgine.actors.sessions.hosting.host import SessionHost
from llmgine.actors.sessions.hosting.queue import TurnQueue
from llmgine.actors.sessions.journal.keeping import SessionStore
from llmgine.actors.sessions.journal.writing import StoreJournal
from llmgine.actors.sessions.options import RecoveryPolicy, SessionOptions
from llmgine.actors.sessions.running.observer import TurnObserver
from llmgine.actors.sessions.running.runner import TurnRunner
from llmgine.actors.sessions.running.spans import TurnSpans
from llmgine.actors.sessions.running.steps import Conversation, ModelCaller, unknown_size
from llmgine.actors.sessions.tools.toolset import ToolPorts, Toolset
from llmgine.actors.sessions.turns.limits import Limits
from llmgine.actors.sessions.turns.turn import TurnRequest, WhenBusy
from llmgine.actors.store.rows import ApprovalRow
from llmgine.providers.catalogue.profiles import profiler
from llmgine.providers.errors import UnknownModel
from llmgine.providers.names import resolve
from llmgine.providers.options import ProvidersOptions
from llmgine.telemetry import SpanRecorder


class Opening(BaseModel):
    """One opening of a session, as its supervisor asks for it; fields of others are let be."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    session_id: str
    opening: int = 1
    model: str
    system: str | None = None
    options: dict[str, Any] = Field(
        default_factory=dict, description="fields of LLMRequest that hold for every turn"
    )
    limits: Limits | None = None
    window: Window | None = None
    recovery: RecoveryPolicy | None = None
    when_busy: WhenBusy | None = None
    stay: bool = False
    parent: str | None = Field(default=None, description="the session that asks this one")
    fingerprint: str = ""
    placement: Literal["dedicated", "pooled"] = "dedicated"
    runs: str = Field(default="", description="the fingerprint of the code that it brings, without the rest")
    code: str = Field(default="", description="the hash under which the store keeps that code")
    tools: list[dict[str, Any]] = Field(
        default_factory=list, description="what its tools are, where their code cannot be loaded"
    )

    def record(self) -> dict[str, Any]:
        """What the store keeps of it, for whoever wakes the session."""
        return self.model_dump(mode="json", exclude={"session_id", "opening"})


def model_sizes(options: ProvidersOptions) -> Callable[[str], int | None]:
    """What tells how many tokens a model holds, by the catalogue and the settings; None where unknown."""

    def holds(model: str) -> int | None:
        try:
            name = resolve(model, options)
        except UnknownModel:
            return None
        endpoint = options.endpoints[name.provider]
        profiled = profiler(name.provider, endpoint.preset or endpoint.kind, options.profiles)
        return profiled(name.model).context

    return holds


def load_code(code: Any) -> SessionCode:
    """The session's code: unpacked from bytes, as it is where it never left the process, else none."""
    if isinstance(code, SessionCode):
        return code
    return SessionCode() if not code else unpack(code)


async def open_host(
    opening: Opening,
    code: SessionCode,
    models: ModelCaller,
    recorder: SpanRecorder,
    options: SessionOptions,
    *,
    store: SessionStore,
    owner: str = "",
    observer: TurnObserver | None = None,
    holds: Callable[[str], int | None] = unknown_size,
    ports: ToolPorts | None = None,
    asked: Callable[[ApprovalRow], Awaitable[None]] | None = None,
    servers: Servers = unknown_server,
    wall: Callable[[], int] = time.time_ns,
    anew: bool = False,
) -> SessionHost:
    """A session ready to serve, as the store has it; its turns that had not ended go on.

    One that is opened `anew` is not looked up before it turns out to be there.

    From here on this process alone, named `owner`, writes for it: `SessionMoved` where another has taken it
    meanwhile. `asked` tells the supervisor of an approval that is waited for.
    """
    toolset = Toolset(code.tools, options, ports, servers=code.servers)
    changes = {"state": "open", "opening": opening.opening}
    epoch, loaded = await activate(
        store, opening.session_id, changes, opening.record(), owner=owner, now=wall(), anew=anew
    )
    toolset.open()
    conversation = Conversation(
        session_id=opening.session_id,
        model=opening.model,
        context=loaded.state.context,
        engine=code.engine,
        toolset=toolset,
        policy=code.policy,
        system=opening.system,
        options=dict(opening.options),
        window=opening.window,
        holds=holds,
        limits=(opening.limits or Limits()).over(Limits(steps=options.max_steps)),
        parallel_tools=options.parallel_tools,
        recovery=opening.recovery or options.recovery,
    )

    def spans(request: TurnRequest) -> TurnSpans:
        return TurnSpans(recorder, opening.session_id, request, servers=servers)

    watching = TurnObserver() if observer is None else observer
    journal = StoreJournal(store, opening.session_id, epoch, loaded, options, wall=wall)
    desk = ApprovalDesk(
        opening.session_id,
        store,
        journal,
        tell=_untold if asked is None else asked,
        observer=watching,
        expiry=options.approval_expiry,
        wall=wall,
    )
    runner = TurnRunner(
        conversation,
        models,
        spans,
        journal=journal,
        observer=watching,
        approvals=desk,
    )
    queue = TurnQueue(
        opening.session_id, epoch, runner, journal, options, wall, watching, opening.when_busy or "queue"
    )
    host = SessionHost(conversation, queue, journal, store, epoch, desk)
    journal.on_fenced = host.fenced
    if loaded.state.damage is not None:
        journal.snapshot()
    queue.resume(loaded.state)
    return host


async def _untold(row: ApprovalRow) -> None:
    """There is no supervisor to watch over it."""
