"""`runtime.telemetry`: what happened in the runtime, asked for, watched, switched off and on."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from llmgine.actors.control import names
from llmgine.actors.link import Connection
from llmgine.actors.telemetry import TelemetryClient, TelemetryOff
from llmgine.providers import LlmgineError
from llmgine.runtime.driver import Driver
from llmgine.telemetry import Span

SpanHandler: TypeAlias = Callable[[Span], Awaitable[None] | None]

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0

logger = logging.getLogger(__name__)


class Telemetry(TelemetryClient):
    """Sessions, traces, costs and statistics as the telemetry actor has them; see `TelemetryClient`.

    `TelemetryOff` where the runtime was launched without telemetry.
    """

    def __init__(self, driver: Driver) -> None:
        super().__init__(driver.ground.peer(names.TELEMETRY))
        self._driver = driver

    def observe(self, observer: SpanHandler, *, session: str | None = None) -> Observed:
        """Calls a function with every span that ends from now on, of one session or of all, in this driver.

        A plain function runs in a thread. Nothing waits for the observer: what it has no time for is missed,
        and what it raises over counted; see the `Observed` that is returned, and `await` its `stop`.
        """
        self._must_be_on()
        return Observed(self, observer, session, self._driver.background)

    async def flush(self) -> bool:
        """Whether all that this driver recorded has reached the telemetry actor."""
        return await self._driver.flush_telemetry()

    async def _reach(self) -> Connection:
        self._must_be_on()
        return await super()._reach()

    def _must_be_on(self) -> None:
        if not self._driver.settings.telemetry.enabled:
            raise TelemetryOff(
                f"the runtime {self._driver.runtime} was launched without telemetry; launch it with "
                "telemetry.enabled"
            )


class Observed:
    """A function that is called with spans; it may block and fail, which disturbs nobody."""

    def __init__(
        self,
        telemetry: TelemetryClient,
        observer: SpanHandler,
        session: str | None,
        background: Callable[[Any, str], asyncio.Task[None]],
    ) -> None:
        self.told = 0  # spans that the observer took
        self.failed = 0  # spans that it raised an exception over
        self.missed = 0  # begins and ends that came faster than it took them
        self.breaks = 0  # how often the telemetry actor was lost; what ended meanwhile is not told
        self.last_error = ""
        self._telemetry = telemetry
        self._observer = observer
        self._session = session
        self._watching = asyncio.Event()
        self._task = background(self._run(), "observe spans")

    async def ready(self) -> None:
        """Returns once everything that ends is told."""
        await self._watching.wait()

    async def stop(self) -> None:
        """Calls the function no more."""
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        pause = _FIRST_PAUSE
        while True:
            missed = self.missed
            try:
                live = self._telemetry.live(self._session, watching=self._watching.set)
                async with contextlib.aclosing(live) as changes:
                    async for change in changes:
                        pause = _FIRST_PAUSE
                        self.missed = missed + change.missed
                        for span in change.spans:
                            if span.end is not None:
                                await self._tell(span)
            except (LlmgineError, OSError) as error:
                self.last_error = f"{type(error).__name__}: {error}"
            self.breaks += 1
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)

    async def _tell(self, span: Span) -> None:
        try:
            if inspect.iscoroutinefunction(self._observer):
                await self._observer(span)
            else:
                result = await asyncio.to_thread(self._observer, span)
                if inspect.isawaitable(result):
                    await result
            self.told += 1
        except Exception as error:  # a user's code may fail in any way
            if not self.failed:
                logger.warning("an observer of spans fails: %s", error, exc_info=True)
            self.failed += 1
            self.last_error = f"{type(error).__name__}: {error}"[:500]
