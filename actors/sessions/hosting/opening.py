"""What a session is opened with, and how its host is put together from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from llmgine.actors.sessions.context.store import ContextStore
from llmgine.actors.sessions.context.window import Window
from llmgine.actors.sessions.hosting.code import SessionCode, unpack
from llmgine.actors.sessions.hosting.host import SessionHost
from llmgine.actors.sessions.journal.records import Journal, NoJournal
from llmgine.actors.sessions.options import SessionOptions
from llmgine.actors.sessions.running.observer import TurnObserver
from llmgine.actors.sessions.running.runner import TurnRunner
from llmgine.actors.sessions.running.spans import TurnSpans
from llmgine.actors.sessions.running.steps import Conversation, ModelCaller, unknown_size
from llmgine.actors.sessions.tools.toolset import Toolset
from llmgine.actors.sessions.turns.limits import Limits
from llmgine.actors.sessions.turns.turn import TurnRequest
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
    stay: bool = False
    fingerprint: str = ""
    placement: Literal["dedicated", "pooled"] = "dedicated"
    code: str = Field(default="", description="the fingerprint of what it brings to run alone")


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


def open_host(
    opening: Opening,
    code: SessionCode,
    models: ModelCaller,
    recorder: SpanRecorder,
    options: SessionOptions,
    *,
    observer: TurnObserver | None = None,
    journal: Journal | None = None,
    context: ContextStore | None = None,
    holds: Callable[[str], int | None] = unknown_size,
) -> SessionHost:
    """A session ready to serve; the parts that are not given do nothing."""
    toolset = Toolset(code.tools, options, servers=code.servers)
    toolset.open()
    conversation = Conversation(
        session_id=opening.session_id,
        model=opening.model,
        context=ContextStore() if context is None else context,
        engine=code.engine,
        toolset=toolset,
        system=opening.system,
        options=dict(opening.options),
        window=opening.window,
        holds=holds,
        limits=(opening.limits or Limits()).over(Limits(steps=options.max_steps)),
        parallel_tools=options.parallel_tools,
    )

    def spans(request: TurnRequest) -> TurnSpans:
        return TurnSpans(recorder, opening.session_id, request.turn_id)

    runner = TurnRunner(
        conversation,
        models,
        spans,
        journal=NoJournal() if journal is None else journal,
        observer=TurnObserver() if observer is None else observer,
    )
    return SessionHost(conversation, runner, options)
