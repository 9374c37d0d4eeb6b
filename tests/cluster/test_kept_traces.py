"""Kept traces and sums on a real cluster, over the end of the telemetry actor and of the runtime."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmgine.runtime import Runtime, TraceQuery
from tests.cluster.test_failures import pid_of

pytestmark = pytest.mark.cluster

SCRIPT = {"replies": [{"text": "noon", "usage": {"input_tokens": 100, "output_tokens": 20}}]}


async def test_what_a_session_did_is_told_after_every_end(
    ray_cluster: str, name: str, tmp_path: Path, eventually: Callable[..., Any]
) -> None:
    """The turn's trace, its tokens and its session are there after SIGKILL of the actor and a new launch."""
    settings: dict[str, Any] = {
        "data_dir": tmp_path,
        "sessions": {"warm": 0},
        "providers": {"scripts": {"clock": SCRIPT}},
        "telemetry": {"sample_settle": 0.05},
    }
    async with Runtime.launch(settings, name=name) as runtime:
        async with runtime.session("s", model="scripted/clock") as session:
            reply = await session.ask("What time is it?")

        async def kept() -> bool:
            counters = await runtime.telemetry.counters()
            found = await runtime.telemetry.session("s")
            whole = found.spans and all(span.end is not None for span in found.spans)
            return bool(whole and not counters["sampling"]["unsettled_traces"])

        await eventually(kept)
        before = await told(runtime, reply.trace_id)
        os.kill(await pid_of(runtime, "telemetry"), signal.SIGKILL)

        async def answers() -> bool:
            try:
                return bool(await runtime.telemetry.counters())
            except Exception:  # it is on its way back
                return False

        await eventually(answers)
        assert await told(runtime, reply.trace_id) == before
    async with Runtime.launch(settings, name=name) as runtime:
        assert await told(runtime, reply.trace_id) == before


async def told(runtime: Runtime, trace_id: str) -> Any:
    """All that telemetry says of the one session."""
    telemetry = runtime.telemetry
    [session] = (await telemetry.sessions("s")).items
    [trace] = (await telemetry.traces(TraceQuery(session="s"))).items
    [model] = (await telemetry.stats()).models
    assert trace.id == trace_id
    assert session.tokens.input == trace.tokens.input == model.tokens.input == 100
    assert model.cost == session.cost
    assert isinstance(model.cost, Decimal | None)
    return session, trace, model, await spans(runtime, trace_id)


async def spans(runtime: Runtime, trace_id: str) -> Any:
    return (await runtime.telemetry.trace(trace_id)).spans
