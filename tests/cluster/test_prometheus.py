"""What a runtime on a real cluster shows to Prometheus."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from llmgine.runtime import Event, Runtime, tool
from tests.cluster.conftest import new_name

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

_SCRIPTS = {
    "clock": {
        "replies": [
            {
                "tool_calls": [{"name": "clock", "arguments": {}}],
                "usage": {"input_tokens": 100, "output_tokens": 20},
            },
            {"text": "It is noon.", "usage": {"input_tokens": 130, "output_tokens": 10}},
        ]
    }
}


class Rang(Event):
    """A bell rang."""


@tool
def clock() -> str:
    """Tells the time."""
    return "noon"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def runtime(ray_cluster: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Runtime]:
    settings: dict[str, Any] = {
        "data_dir": tmp_path_factory.mktemp("data"),
        "providers": {"scripts": _SCRIPTS},
        "sessions": {"warm": 0},
        "telemetry": {"prometheus_seconds": 0.2},
    }
    async with Runtime.launch(settings, name=new_name()) as opened:
        yield opened


def scraped() -> dict[str, list[tuple[dict[str, str], float]]]:
    """Each sample of llmgine's on the metrics page of this node, as Prometheus reads it."""
    import ray

    (node,) = [node for node in ray.nodes() if node["Alive"]]
    url = f"http://127.0.0.1:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.startswith(("ray_llmgine_", "ray_gen_ai_", "ray_messaging_")):
                found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


async def test_metrics_are_on_the_page_that_prometheus_scrapes(
    runtime: Runtime, eventually: Callable[..., Any]
) -> None:
    """Counts and tokens are exactly those of what was done, gauges are zero after it, no label says whose."""
    heard = asyncio.Event()

    async def hear(event: Rang) -> None:
        heard.set()

    registration = await runtime.bus.register_event_handler(Rang, hear)
    async with runtime.session("secret-session", model="scripted/clock", tools=[clock]) as session:
        await session.ask("What secret time is it?")
    await runtime.bus.publish(Rang())
    await asyncio.wait_for(heard.wait(), 20)
    await registration.remove()
    page: dict[str, list[tuple[dict[str, str], float]]] = {}

    def total(name: str, **labels: str) -> float | None:
        found = [value for known, value in page.get(f"ray_{name}", ()) if labels.items() <= known.items()]
        return sum(found) if found else None

    async def all_there() -> bool:
        page.clear()
        page.update(of_runtime(await asyncio.to_thread(scraped)))
        return (
            total("gen_ai_client_operation_duration_seconds_count") == 2
            and total("llmgine_turns_total") == 1
            and total("llmgine_active_sessions") == 0
        )

    await eventually(all_there, 60)
    assert total("gen_ai_client_token_usage_sum", gen_ai_token_type="input") == 230
    assert total("gen_ai_client_token_usage_sum", gen_ai_token_type="output") == 30
    assert total("gen_ai_client_operation_duration_seconds_bucket", le="+Inf") == 2
    assert total("llmgine_turn_duration_seconds_count") == 1
    assert total("llmgine_tool_calls_total", gen_ai_tool_name="clock", error_type="") == 1
    assert total("llmgine_tool_duration_seconds_count", gen_ai_tool_name="clock") == 1
    assert total("llmgine_events_published_total") == total("llmgine_events_processed_total")
    assert total("llmgine_event_processing_duration_seconds_count")
    for gauge in ("calls_in_flight", "queue_size", "backpressure_active", "registered_handlers"):
        assert total(f"llmgine_{gauge}") == 0, gauge
    said = str(page)
    assert "secret" not in said
    assert "noon" not in said


def of_runtime(
    page: dict[str, list[tuple[dict[str, str], float]]],
) -> dict[str, list[tuple[dict[str, str], float]]]:
    """What the telemetry actor of this test's runtime has told; others may have stood on the same Ray."""
    model = page.get("ray_gen_ai_client_operation_duration_seconds_count", ())
    workers = {labels["WorkerId"] for labels, _ in model if labels["gen_ai_request_model"] == "clock"}
    return {
        name: [(labels, value) for labels, value in samples if labels["WorkerId"] in workers]
        for name, samples in page.items()
    }
