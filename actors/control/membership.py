"""Keeps a process known to the supervisor, and takes what the supervisor pushes to it.

One stream of kind "member" per process. Its header is the process's report of itself, sent anew
after each break, so that a restarted supervisor can rebuild its tables from its members. Then the
supervisor pushes `[number, kind, body]`, and each is acknowledged with its number once applied.
A push that cannot be applied breaks the stream: with the next one come whole tables. A process may say
`[kind, body]` as well, which nobody answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from llmgine.actors.link import LinkError, Peer, Stream

logger = logging.getLogger(__name__)

MEMBER = "member"
# The push with what a restarted supervisor shall find again: each actor reports the latest.
KEPT = "kept"

# Between two streams, in seconds; a peer's own attempts have their own pauses.
_PAUSE = 0.2


class Membership:
    """A stream to the supervisor that comes back after every break.

    `on_silence` is called once when the supervisor could not be reached for `silence` seconds.
    """

    def __init__(
        self,
        supervisor: Peer,
        report: Callable[[], dict[str, Any]],
        on_push: Callable[[str, Any], Awaitable[None]],
        *,
        silence: float,
        on_silence: Callable[[], Awaitable[None]],
    ) -> None:
        self._supervisor = supervisor
        self._report = report
        self._on_push = on_push
        self._silence = silence
        self._on_silence = on_silence
        self._welcomed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._stream: Stream | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="membership")

    async def welcomed(self) -> None:
        """Returns once the supervisor knows this process."""
        await self._welcomed.wait()

    def tell(self, kind: str, body: Any) -> None:
        """Says it to the supervisor if that can hear it now; what is said to one that is away is lost."""
        if self._stream is not None:
            with contextlib.suppress(LinkError):
                self._stream.try_send([kind, body])

    async def close(self) -> None:
        task, self._task = self._task, None
        # The end of a silent supervisor's child begins inside this task.
        if task is not None and task is not asyncio.current_task():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        heard = loop.time()
        while loop.time() - heard < self._silence:
            try:
                await self._serve()
            except LinkError as error:
                logger.info("the link to the supervisor broke: %s", error)
            except Exception:
                logger.exception("what the supervisor said could not be taken in; it is asked anew")
            if self._welcomed.is_set():
                heard = loop.time()
                self._welcomed.clear()
            await asyncio.sleep(_PAUSE)
        logger.error("the supervisor has been silent for %g s", self._silence)
        await self._on_silence()

    async def _serve(self) -> None:
        connection = await self._supervisor.connection()
        stream = connection.open(MEMBER, self._report())
        try:
            async for number, kind, body in stream:
                if kind == "welcome":
                    self._stream = stream
                    self._welcomed.set()
                else:
                    await self._on_push(kind, body)
                await stream.send(number)
        finally:
            self._stream = None
            stream.reset("left", "this stream is over")
