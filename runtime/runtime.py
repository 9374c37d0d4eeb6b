"""The face: a runtime launched, joined, or held in one process."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from llmgine.actors.control import RuntimeNotFound, names
from llmgine.actors.sessions import (
    Engine,
    Limits,
    McpServer,
    RecoveryPolicy,
    Reply,
    SessionClient,
    Tool,
    ToolPolicy,
    TurnClient,
    WhenBusy,
    Window,
    session_of,
)
from llmgine.providers import LlmgineError, Message, ModelChain
from llmgine.providers.contracts import Priority
from llmgine.runtime import opening
from llmgine.runtime.approvals import Approvals
from llmgine.runtime.batches import (
    Asking,
    BatchPlan,
    BatchSpans,
    NoNotes,
    StoredNotes,
    cancelled,
    run_batches,
)
from llmgine.runtime.bus import Bus
from llmgine.runtime.checks import checked_id
from llmgine.runtime.choice import chosen, entered
from llmgine.runtime.driver import Driver
from llmgine.runtime.gateway.handle import Gateway
from llmgine.runtime.logs import Logs
from llmgine.runtime.mapping import MapPlan, MapSessions, run_map
from llmgine.runtime.models import Models
from llmgine.runtime.placing import Placement
from llmgine.runtime.pools import Pools
from llmgine.runtime.session import Session
from llmgine.runtime.sessions import Sessions
from llmgine.runtime.settings import Settings, load_settings
from llmgine.runtime.telemetry import Telemetry
from llmgine.telemetry import OpenSpan, TraceContext
from llmgine.telemetry.current import recorded

if TYPE_CHECKING:
    from llmgine.actors.gateway.shapes import Overview

_QUERY_TIMEOUT = 10.0

_Entrance = Callable[[], AbstractAsyncContextManager[Driver]]


class Runtime:
    """A runtime as a driver holds it; made by `launch`, `connect` or `in_process`.

    Used as `async with Runtime.launch() as runtime`, or awaited (`runtime = await Runtime.launch()`),
    after which `await runtime.leave()` takes the place of the end of the block.
    """

    def __init__(self, entrance: _Entrance) -> None:
        self._entrance = entrance
        self._stack = AsyncExitStack()
        self._driver: Driver | None = None

    @classmethod
    def launch(
        cls,
        settings: Mapping[str, Any] | Settings | None = None,
        *,
        name: str = "default",
        detached: bool = False,
    ) -> Self:
        """A new runtime: on the Ray cluster that this driver stands in, else on one of its own.

        It lives while this driver does; `detached=True` lets it live until `stop()`. Raises
        `RuntimeExists`, `RayUnavailable`, or `SettingsError`. In a script of `llmgine run` the command
        says whether it is launched or joined, unless there are settings here.
        """
        choice = chosen()
        if choice is not None and settings is None and not detached:
            return cls(lambda: entered(choice, name, launches=True))
        return cls(lambda: opening.launched(load_settings(settings), name, detached=detached))

    @classmethod
    def connect(cls, address: str | None = None, *, name: str = "default") -> Self:
        """A runtime that runs already; `RuntimeNotFound` where none of that name does.

        `address` is Ray's, as host:port; by default where this machine's records or RAY_ADDRESS point.
        In a script of `llmgine run` the command says whether it is launched or joined, unless there is an
        address here.
        """
        choice = chosen()
        if choice is not None and address is None:
            return cls(lambda: entered(choice, name, launches=False))
        return cls(lambda: opening.joined(load_settings(), name, address))

    @classmethod
    def in_process(
        cls, settings: Mapping[str, Any] | Settings | None = None, *, name: str = "default"
    ) -> Self:
        """The same actors inside this process and its loop, without Ray: for tests and small tools."""
        return cls(lambda: opening.held(load_settings(settings), name))

    # Coming and going.

    async def __aenter__(self) -> Self:
        if self._driver is not None:
            raise RuntimeError("this runtime is open already; make another with Runtime.connect()")
        self._driver = await self._stack.enter_async_context(self._entrance())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    def __await__(self) -> Generator[Any, None, Self]:
        return self.__aenter__().__await__()

    async def leave(self) -> None:
        """What the end of the block does: a launched runtime ends, a joined or detached one goes on."""
        try:
            await self._stack.aclose()
        finally:
            self._driver = None

    async def stop(self) -> None:
        """Ends the runtime, whoever launched it, after what is admitted has drained."""
        driver = self._open()
        await driver.settle()
        await opening.stop_runtime(driver.control)
        await driver.ground.cluster.kill(names.SUPERVISOR)
        await self.leave()

    # What a runtime is for.

    @property
    def name(self) -> str:
        return self._open().runtime

    @property
    def settings(self) -> Settings:
        """The settings that the runtime was launched with."""
        return self._open().settings

    @property
    def bus(self) -> Bus:
        """Events and commands, of all sessions."""
        return Bus(self._open())

    @property
    def approvals(self) -> Approvals:
        """Tool calls that wait for somebody's leave."""
        return Approvals(self._open())

    @property
    def pools(self) -> Pools:
        """Provider pools, by the provider's name."""
        return Pools(self._open().control, self._open().settings.providers)

    @property
    def sessions(self) -> Sessions:
        """What is kept of sessions, whether they are open or not."""
        return Sessions(self._open())

    @property
    def gateway(self) -> Gateway:
        """The dashboard and HTTP in front of the runtime."""
        return Gateway(self._open())

    @property
    def models(self) -> Models:
        """Models called by their names, without a session."""
        return self._open().models

    def span(
        self,
        name: str,
        attributes: Mapping[str, Any] | None = None,
        /,
        *,
        trace: TraceContext | str | None = None,
        **named: Any,
    ) -> AbstractContextManager[OpenSpan]:
        """A span of the user's own: `with runtime.span("nightly report"): ...`.

        What is asked of sessions, models and the bus in the block stands below it. It itself stands below the
        current span, OpenTelemetry's or ours, or below `trace`, which may be a `traceparent`.
        """
        return recorded(self._open().recorder, name, {**(attributes or {}), **named}, trace=trace)

    @property
    def telemetry(self) -> Telemetry:
        """What happened: sessions, traces, costs, statistics, what is running."""
        return Telemetry(self._open())

    @property
    def logs(self) -> Logs:
        """What the actors log, on all nodes."""
        return Logs(self._open())

    def session(
        self,
        id: str | None = None,
        *,
        model: ModelChain,
        system: str | None = None,
        tools: Sequence[Tool[..., Any] | Callable[..., Any] | McpServer] = (),
        engine: Engine | None = None,
        policy: ToolPolicy | None = None,
        handlers: Sequence[Callable[..., Any]] = (),
        stay: bool = False,
        placement: Placement | None = None,
        trusted: bool = False,
        window: Window | None = None,
        limits: Limits | None = None,
        when_busy: WhenBusy | None = None,
        recovery: RecoveryPolicy | None = None,
        priority: Priority | None = None,
        response_cache: bool | None = None,
    ) -> Session:
        """A conversation: opened, or attached to where one of that id is open.

        `model` is `provider/model`, an alias, or a list, of which each model takes over from the one before
        it; tools are typed functions, and `policy` decides on their calls;
        `handlers` are functions marked with `@on` or `@answers`, which run where the session lives;
        `stay=True` keeps the session when its last driver leaves; `placement`, "dedicated" or "pooled",
        is by default that of the settings, and with `trusted` all that it runs may share a process with
        other sessions. `window` is how much of the conversation its models see, all by
        default; `limits` bound each of its turns; `when_busy` says what becomes of one that comes while
        another runs: "queue", as by default, "interrupt" or "refuse"; `recovery` what becomes of a tool
        call that may not run twice and whose process died: "retry", "ask" or "fail"; `priority` whether its
        model calls go before others where they wait for a provider actor: "interactive", as by default,
        or "batch"; `response_cache` whether the kept answers to equal calls will do, None is what the pool's
        settings say. Raises `UnknownModel` and `ToolDefinitionError` at once.
        """
        return Session(
            self._open(),
            id,
            model=model,
            system=system,
            tools=tools,
            engine=engine,
            policy=policy,
            handlers=handlers,
            stay=stay,
            placement=placement,
            trusted=trusted,
            window=window,
            limits=limits,
            when_busy=when_busy,
            recovery=recovery,
            priority=priority,
            response_cache=response_cache,
        )

    async def map(
        self,
        prompts: Iterable[str | Message],
        *,
        model: ModelChain,
        name: str | None = None,
        concurrency: int = 8,
        retries: int = 2,
        return_exceptions: bool = False,
        progress: bool | None = None,
        output: Any = None,
        deadline: float | None = None,
        batch: bool = False,
        **session: Any,
    ) -> list[Reply | LlmgineError]:
        """The replies to many prompts, in their order, each asked in a session of its own.

        `concurrency` of them run at the same time; one that fails is asked again up to `retries` times where
        that may help. The first that fails for good ends the map with its error; with `return_exceptions`
        its error stands in its place. A map with a `name` that was interrupted, or has more prompts by now,
        takes what is done from the store and asks for the rest. `output` and `deadline`, in seconds, are
        for each turn; a bar shows the `progress` on terminals. Further options are those of `session`;
        `priority` is "batch" here by default.

        With `batch` the prompts go to the batch API of the provider, which answers within a day and for less;
        openai and anthropic have one. There are no sessions then: further options are `system` and others of
        a call, such as `max_output_tokens`. `concurrency` bounds the batches at a time, `deadline` the whole
        map. With a `name` the batches go on where the map is interrupted, and the next map of that name
        takes their results; see `cancel_map`.
        """
        chosen = f"map-{uuid.uuid4().hex[:8]}" if name is None else checked_id(name)
        if batch:
            driver = self._open()
            asking = Asking(model, driver.settings.providers, output, session)
            in_batches = BatchPlan(
                chosen,
                asking.model,
                driver.models.batches,
                asking.request,
                asking.reply,
                NoNotes() if name is None else StoredNotes(driver.store, chosen, driver.id),
                BatchSpans(driver.recorder),
                driver.undo,
                named=name is not None,
                options=driver.settings.pools.batches,
                concurrency=concurrency,
                retries=retries,
                return_exceptions=return_exceptions,
                deadline=deadline,
            )
            return await run_batches(prompts, in_batches, progress=progress)
        brings = any(session.get(name) for name in ("tools", "engine", "policy", "handlers"))
        placement = None if brings else "pooled"
        options = {"placement": placement, "priority": "batch", **session}
        sessions = MapSessions(
            self._open(),
            lambda id: self.session(id, model=model, **options),
            named=name is not None,
            output=output,
            deadline=deadline,
        )
        plan = MapPlan(
            chosen,
            sessions.run,
            sessions.kept,
            concurrency=concurrency,
            retries=retries,
            return_exceptions=return_exceptions,
        )
        return await run_map(prompts, plan, progress=progress)

    async def cancel_map(self, name: str) -> int:
        """Cancels the batches of a map, whoever waits for them; how many there were. What is done stays."""
        driver = self._open()
        notes = StoredNotes(driver.store, checked_id(name), driver.id)
        going = [note for note in await notes.read() if not note.over]
        return sum([await cancelled(driver.models.batches(note.model), note) for note in going])

    def turn(self, turn_id: str) -> TurnClient:
        """The handle of a turn that any driver submitted; its session may be open, sleep, or have ended."""
        session_id = session_of(turn_id)
        return SessionClient(session_id, self._open().link(session_id)).turn(turn_id)

    async def status(self) -> dict[str, Any]:
        """Actors, drivers, sessions, pools and bus counters, as plain values."""
        status = dict(await self._open().control.call("status"))
        status["bus"] = await self.bus.statistics()
        return status

    async def overview(self) -> Overview:
        """The runtime at a glance: counts of what it holds and carries, its pools, tokens and cost."""
        from llmgine.runtime.gateway.port import RuntimePort

        return await RuntimePort(self._open()).overview()

    def _open(self) -> Driver:
        if self._driver is None:
            raise RuntimeNotFound(
                "this runtime is not open; use it inside `async with Runtime.launch() as runtime`"
            )
        return self._driver
