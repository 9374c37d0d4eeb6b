"""Sessions that the tools of one session ask: opened through the supervisor, asked over their own links."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from typing import Any

from llmgine.actors.control import ControlClient
from llmgine.actors.link import Peer
from llmgine.actors.sessions.client.asking import Link
from llmgine.actors.sessions.client.client import TurnClient
from llmgine.actors.sessions.errors import EngineFailed
from llmgine.actors.sessions.hosting.code import code_of, fingerprint, pack
from llmgine.actors.sessions.tools.context import Call
from llmgine.actors.sessions.tools.subsession import SubSession
from llmgine.actors.sessions.turns.events import Reply
from llmgine.actors.sessions.turns.turn import TurnRequest
from llmgine.providers.contracts import Message
from llmgine.providers.errors import LlmgineError
from llmgine.providers.names import full_chain
from llmgine.providers.options import ProvidersOptions

logger = logging.getLogger(__name__)

# The handle by which a session holds those that it has opened.
_HANDLE = "parent"

# The loop holds its tasks weakly, and nobody waits for these.
_leaving: set[asyncio.Task[None]] = set()


class AskedSessions:
    """What the tools of one session reach others through."""

    def __init__(
        self,
        session_id: str,
        control: ControlClient,
        peer: Callable[[str], Peer],
        providers: ProvidersOptions,
        *,
        live: bool,
    ) -> None:
        self._session_id = session_id
        self._control = control
        self._peer = peer
        self._providers = providers
        self._live = live

    async def ask(self, sub: SubSession, prompt: str, call: Call) -> Reply:
        """The reply to a turn whose id is that of the attempt and the prompt, so that it is asked once.

        A session that is not kept ends with it.
        """
        waiting = (*call.chain.waiting, self._session_id)
        if len(waiting) > sub.depth:
            raise EngineFailed(
                f"{len(waiting)} sessions would wait for each other; {sub.name!r} allows depth={sub.depth}"
            )
        asked = f"{call.key}\n{call.attempt}\n{prompt}"
        key = hashlib.sha256(asked.encode(errors="replace")).hexdigest()[:16]
        child = f"{self._session_id}/{sub.name}" if sub.keep else f"{self._session_id}/{sub.name}/{key}"
        request = TurnRequest(
            turn_id=f"{child}:{key}",
            prompt=Message.user(prompt),
            deadline=call.chain.remaining,
            waiting=waiting,
            trace=call.chain.trace,
        )
        try:
            where = await self._open(child, sub)
            turn = TurnClient(request.turn_id, self._link(child, where), request=request)
            return await _result(turn, call)
        finally:
            if not sub.keep and not call.chain.moved():
                _soon(self._leave(child), f"leave {child}")

    async def _open(self, child: str, sub: SubSession) -> str:
        """Opens the session, or attaches to it; the actor where it lives."""
        code = code_of(sub)
        runs = fingerprint(code) if sub.tools or sub.engine or sub.policy else ""
        model, fallbacks = full_chain(sub.model, self._providers)
        spec = {
            "session_id": child,
            "parent": self._session_id,
            "model": model,
            "options": {"fallbacks": [one.model_dump() for one in fallbacks]} if fallbacks else {},
            "system": sub.system,
            "limits": sub.limits and sub.limits.model_dump(mode="json"),
            "stay": False,
            "fingerprint": "",
            "placement": "dedicated" if runs else "pooled",
            "runs": runs,
            "tools": [tool.spec.model_dump(mode="json") for tool in code.tools],
        }
        packed: Any = None
        if runs:
            packed = code if self._live else await asyncio.to_thread(pack, code)
        where = await self._control.call("open_session", self._session_id, _HANDLE, spec, packed)
        return str(where["actor"])

    def _link(self, child: str, actor: str) -> Link:
        async def locate() -> Peer:
            where = await self._control.call("locate_session", child)
            return self._peer(where["actor"])

        return Link(locate, self._peer(actor))

    async def _leave(self, child: str) -> None:
        try:
            await self._control.call("detach_session", child, _HANDLE, None)
        except LlmgineError as error:
            logger.info("session %s was not left: %s", child, error)


async def _result(turn: TurnClient, call: Call) -> Reply:
    """The turn's reply; cancelling this wait cancels the turn, unless somebody else will wait for it."""
    try:
        return await turn.result()
    except asyncio.CancelledError:
        if not call.chain.moved():
            turn.cancel_soon()
        raise


def _soon(work: Any, name: str) -> None:
    task: asyncio.Task[None] = asyncio.create_task(work, name=name)
    _leaving.add(task)
    task.add_done_callback(_leaving.discard)
