"""What the sessions of a run can do in the world: every effect is written down, with who had it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from llmgine.actors.sessions import tool

if TYPE_CHECKING:
    from tests.simulation.sessions.account import Account


class Desk:
    """Where tools find the account of the run that they work in."""

    account: Account


@tool(idempotent=True, trusted=True)
async def look(key: str) -> str:
    """Looks at something; may be done any number of times."""
    return await _work(key, idempotent=True)


@tool(timeout=3.0, trusted=True)
async def act(key: str) -> str:
    """Changes the world; must not be done twice."""
    return await _work(key, idempotent=False)


@tool(approval=True, approval_expiry=8.0, trusted=True)
async def dare(key: str) -> str:
    """Changes the world where somebody allows it."""
    return await _work(key, idempotent=False, gated=True)


async def _work(key: str, *, idempotent: bool, gated: bool = False) -> str:
    account = Desk.account
    await asyncio.sleep(account.loop.between(0.0, 0.05))
    account.effect(key, idempotent=idempotent, gated=gated)
    await asyncio.sleep(account.loop.between(0.0, 0.3 if account.loop.chance(0.1) else 0.02))
    return f"did {key}"


TOOLS = (look, act, dare)
