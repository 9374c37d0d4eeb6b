"""One trace of one session at a receiver of others, exactly as the runtime itself has it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio

from llmgine.runtime import Runtime
from llmgine.telemetry import names
from tests.cluster.conftest import new_name
from tests.cluster.one_trace import SETTINGS, one_turn, whole
from tests.telemetry.receivers import Received, attributes, grpc_receiver, http_receiver

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(
    loop_scope="module",
    scope="module",
    params=["in process", pytest.param("on Ray", marks=pytest.mark.cluster)],
)
async def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Runtime, Received]]:
    """A runtime and the receiver that it exports to: over gRPC within one process, over HTTP from Ray's."""
    settings: dict[str, Any] = {
        **SETTINGS,
        "sessions": {"warm": 0},
        "data_dir": tmp_path_factory.mktemp("data"),
    }
    if request.param == "in process":
        with grpc_receiver() as received:
            settings["telemetry"] = {"otlp": {"endpoint": received.address, "protocol": "grpc"}}
            async with Runtime.in_process(settings) as opened:
                yield opened, received
        return
    request.getfixturevalue("ray_cluster")
    with http_receiver() as received:
        settings["telemetry"] = {"otlp": {"endpoint": received.address, "compression": "gzip"}}
        async with Runtime.launch(settings, name=new_name()) as opened:
            yield opened, received


async def test_a_receiver_has_the_trace_exactly(
    exported: tuple[Runtime, Received], eventually: Callable[..., Any]
) -> None:
    """Each span of each process is there once, with the same ids, kind, links, events and nanoseconds."""
    runtime, received = exported
    asked = await one_turn(runtime)
    view = await whole(runtime, asked.trace_id)

    def arrived() -> list[tuple[str, Any]]:
        return [
            (source, span)
            for source, span in received.spans_by_source
            if span.trace_id.hex() == asked.trace_id
        ]

    await eventually(lambda: len(arrived()) >= len(view.spans), 30)
    assert len(arrived()) == len(view.spans)
    told = {int.from_bytes(span.span_id, "big"): (source, span) for source, span in arrived()}
    for one in view.spans:
        source, span = told[one.span_id]
        assert source.endswith(f"/{one.source}")
        assert span.name == one.name
        assert int.from_bytes(span.parent_span_id, "big") == one.parent_id
        assert span.kind == names.SPAN_KINDS.index(one.kind) + 1
        assert (span.start_time_unix_nano, span.end_time_unix_nano) == (one.start, one.end)
        assert [(link.trace_id.hex(), int.from_bytes(link.span_id, "big")) for link in span.links] == [
            (f"{link.trace_id:032x}", link.span_id) for link in one.links
        ]
        assert [(event.time_unix_nano, event.name, attributes(event)) for event in span.events] == [
            tuple(event) for event in one.events
        ]
        assert span.status.code == 0
        if one.session:
            assert attributes(span)["session.id"] == asked.session_id
    assert sum(bool(span.links) for _, span in arrived()) >= 2
    assert len({source for source, _ in arrived()}) >= 5
    (counters,) = (await runtime.telemetry.counters())["exporters"]
    assert counters["failed"] == counters["dropped"] == 0
