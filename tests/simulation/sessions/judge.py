"""Who comes when all is over, and looks at everything as any driver can."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmgine.providers import ProviderError
from llmgine.runtime import Runtime, Session, StoreUnavailable, TurnError, UnknownTurn
from tests.simulation.sessions.account import Asked
from tests.simulation.sessions.load import MODEL, joined
from tests.simulation.sessions.tools import TOOLS

if TYPE_CHECKING:
    from tests.simulation.sessions.world import World


async def judged(world: World) -> None:
    """Every turn that was taken on has its outcome, every session its whole history."""
    by_session: dict[str, list[Asked]] = {}
    for asked in world.account.asks.values():
        by_session.setdefault(asked.session, []).append(asked)
    async with Runtime(lambda: joined(world)) as runtime:
        for name, asks in sorted(by_session.items()):
            async with runtime.session(name, model=MODEL, tools=TOOLS) as session:
                for asked in asks:
                    await _outcome(world, runtime, asked)
                await _rest(session)
                world.account.check_history(name, await session.history(), asks)


async def _rest(session: Session) -> None:
    while True:
        said = await session.describe()
        if not said["running"] and not said["waiting"]:
            return
        await asyncio.sleep(0.5)


async def _outcome(world: World, runtime: Runtime, asked: Asked) -> None:
    """What was taken on has an outcome that can be read, also by others and later."""
    must = world.account.must
    if asked.taken_on is None:
        return
    try:
        reply = await runtime.turn(asked.turn_id).result()
    except UnknownTurn as error:
        must(False, 1, f"{asked.name} was taken on, and nobody knows it: {error}")
    except (TurnError, ProviderError, StoreUnavailable) as error:
        must(asked.answer is None, 1, f"{asked.name} was answered, and later its outcome is {error!r}")
        kept = world.kept(asked.session, asked.turn_id)
        must(kept in ("failed", "cancelled"), 7, f"{asked.name} is {kept}, and its outcome {error!r}")
    else:
        world.account.answered(asked, reply.turn_id, reply.text)
